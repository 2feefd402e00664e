"""A client of Portcullis in Python: enrols an organization, gives access, and asks about it.

    python scenario.py localhost:50051

The token is in PORTCULLIS_TOKEN; it is a service's, with the scope `operator`. The stubs are
generated from proto/ with grpcio-tools, and found through PYTHONPATH. Each run makes an
organization of its own.
"""

import os
import sys
import uuid

import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from portcullis.v1 import consistency_pb2
from portcullis.v1 import directory_pb2
from portcullis.v1 import directory_service_pb2 as directory_api
from portcullis.v1 import directory_service_pb2_grpc
from portcullis.v1 import membership_service_pb2 as membership_api
from portcullis.v1 import membership_service_pb2_grpc
from portcullis.v1 import policy_service_pb2 as policy_api
from portcullis.v1 import policy_service_pb2_grpc
from portcullis.v1 import portfolio_pb2
from portcullis.v1 import portfolio_service_pb2 as portfolio_api
from portcullis.v1 import portfolio_service_pb2_grpc
from portcullis.v1 import subject_pb2

TIMEOUT_SECONDS = 30


class Client:
    """The services that the scenario calls, with a token and, if one is named, an actor."""

    def __init__(self, channel, token, actor=None):
        self._metadata = [("authorization", f"Bearer {token}")]
        if actor is not None:
            self._metadata.append(("portcullis-actor", actor))
        self.directory = directory_service_pb2_grpc.DirectoryServiceStub(channel)
        self.portfolios = portfolio_service_pb2_grpc.PortfolioServiceStub(channel)
        self.members = membership_service_pb2_grpc.MembershipServiceStub(channel)
        self.policy = policy_service_pb2_grpc.PolicyServiceStub(channel)

    def call(self, method, request):
        return method(request, metadata=self._metadata, timeout=TIMEOUT_SECONDS)

    def pages(self, method, request):
        """All responses of a list, page by page."""
        while True:
            response = self.call(method, request)
            yield response
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token


def error_info(error):
    """The ErrorInfo of a failed call: a stable reason, for programs; the message is for people."""
    status = rpc_status.from_call(error)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info
    raise AssertionError(f"an error without ErrorInfo: {error}")


def user(name):
    return subject_pb2.Subject(user=name)


def enrol(system, organization, people):
    system.call(
        system.directory.CreateOrganization,
        directory_api.CreateOrganizationRequest(
            organization=directory_pb2.Organization(id=organization, display_name="Juniper Press")
        ),
    )
    response = system.call(
        system.directory.UpsertUsers,
        directory_api.UpsertUsersRequest(
            users=[
                directory_pb2.User(
                    id=person,
                    email=f"{person}@juniper.example",
                    display_name=person.title(),
                    home_organization=organization,
                )
                for person in people
            ]
        ),
    )
    # Entries are refused one by one: that the call succeeded does not say that each of them did.
    statuses = [outcome.status for outcome in response.outcomes]
    assert statuses == [directory_pb2.UPSERT_STATUS_CREATED] * len(people), response


def create_portfolio(client, organization, portfolio):
    """Creates it; a retry with the same request id gives the first answer again."""
    request = portfolio_api.CreatePortfolioRequest(
        request_id=str(uuid.uuid4()),
        portfolio=portfolio_pb2.Portfolio(
            id=portfolio, organization=organization, display_name="Field guide"
        ),
    )
    first = client.call(client.portfolios.CreatePortfolio, request)
    retried = client.call(client.portfolios.CreatePortfolio, request)
    assert retried == first, (first, retried)

    # Without it, it would be another request for the same id.
    request.request_id = ""
    try:
        client.call(client.portfolios.CreatePortfolio, request)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.ALREADY_EXISTS, error
        assert error_info(error).reason == "ID_TAKEN", error
    else:
        raise AssertionError("an id was given out twice")


def add_members(client, portfolio, people):
    """Adds contributors for thirty days, and returns the token of the write."""
    response = client.call(
        client.members.AddMembers,
        membership_api.AddMembersRequest(
            portfolio=portfolio,
            members=[membership_api.MemberSpec(user=person) for person in people],
            role="contributor",
            duration=duration_pb2.Duration(seconds=30 * 24 * 3600),
        ),
    )
    for outcome in response.outcomes:
        assert outcome.status == membership_api.ADD_MEMBER_STATUS_ADDED, outcome
    return response.consistency_token


def check(client, portfolio, person, token):
    """Asks with the token of the write, so that the answer cannot be older than it."""
    fresh = consistency_pb2.Consistency(at_least_as_fresh=token)
    question = policy_api.CheckPermissionRequest(
        subject=user(person),
        permission="initiative.edit",
        portfolio=portfolio,
        consistency=fresh,
    )
    answer = client.call(client.policy.CheckPermission, question)
    assert answer.allowed, answer
    assert answer.reason == policy_api.DECISION_REASON_DIRECT_GRANT, answer
    assert answer.HasField("hold_until"), "the access ends by itself"


def check_batch(client, portfolio, person, token):
    """What all items share is said once; a bad item does not spoil the good."""
    response = client.call(
        client.policy.BatchCheckPermissions,
        policy_api.BatchCheckPermissionsRequest(
            subject=user(person),
            portfolio=portfolio,
            consistency=consistency_pb2.Consistency(at_least_as_fresh=token),
            items=[
                policy_api.BatchCheckItem(permission="portfolio.view"),
                policy_api.BatchCheckItem(permission="members.invite"),
                policy_api.BatchCheckItem(permission="portfolio.veiw"),
            ],
        ),
    )
    allowed, denied, refused = response.outcomes
    assert allowed.allowed, response
    assert denied.reason == policy_api.DECISION_REASON_PERMISSION_MISSING, response
    assert not refused.allowed and "did you mean" in refused.refusal.message, response


def list_members(client, portfolio):
    request = membership_api.ListMembersRequest(portfolio=portfolio, page_size=2)
    pages = list(client.pages(client.members.ListMembers, request))
    assert len(pages) > 1, "more than a page, so that the page token is put to use"
    return [member.subject.user for page in pages for member in page.members]


def list_accessible(client, person, token):
    request = policy_api.ListAccessiblePortfoliosRequest(
        subject=user(person),
        permission="portfolio.view",
        consistency=consistency_pb2.Consistency(at_least_as_fresh=token),
    )
    pages = client.pages(client.policy.ListAccessiblePortfolios, request)
    return [row.portfolio for page in pages for row in page.portfolios]


def refuse_owner(client, portfolio, owner):
    """The owner cannot be removed; the reason tells a program so."""
    request = membership_api.RemoveMemberRequest(portfolio=portfolio, subject=user(owner))
    try:
        client.call(client.members.RemoveMember, request)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
        info = error_info(error)
        assert (info.domain, info.reason) == ("portcullis", "OWNER"), info
    else:
        raise AssertionError("the owner was removed")


def run(channel, token):
    run_id = uuid.uuid4().hex[:8]
    organization, portfolio = f"juniper-{run_id}", f"guide-{run_id}"
    ann, ben, cora, dov = (f"{name}-{run_id}" for name in ("ann", "ben", "cora", "dov"))

    system = Client(channel, token)
    enrol(system, organization, [ann, ben, cora, dov])

    acting = Client(channel, token, actor=f"user:{ann}")
    create_portfolio(acting, organization, portfolio)
    written = add_members(acting, portfolio, [ben, cora])
    check(acting, portfolio, ben, written)
    check_batch(acting, portfolio, ben, written)
    assert list_members(acting, portfolio) == [ann, ben, cora]
    assert list_accessible(system, ben, written) == [portfolio]
    assert list_accessible(system, dov, written) == []
    refuse_owner(acting, portfolio, ann)


def main():
    (address,) = sys.argv[1:]
    # Over TLS: grpc.secure_channel(address, grpc.ssl_channel_credentials(ca_pem)).
    with grpc.insecure_channel(address) as channel:
        run(channel, os.environ["PORTCULLIS_TOKEN"])
    print("the scenario is through")


if __name__ == "__main__":
    main()

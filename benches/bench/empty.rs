//! A service whose one method takes nothing and gives nothing.

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::metadata::AsciiMetadataValue;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The service.
#[derive(Clone)]
pub struct Empty;

struct Nothing;

impl UnaryService<()> for Nothing {
    type Response = ();
    type Future = Ready<Result<Response<()>, Status>>;

    fn call(&mut self, _: Request<()>) -> Self::Future {
        std::future::ready(Ok(Response::new(())))
    }
}

impl NamedService for Empty {
    const NAME: &'static str = "portcullis.bench.Empty";
}

impl tower::Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<(), ()>::default());
            Ok(grpc.unary(Nothing, request).await)
        })
    }
}

/// Calls it this many times, one after another.
pub async fn call(
    channel: Channel,
    token: Option<AsciiMetadataValue>,
    times: usize,
) -> super::Outcome<()> {
    let mut client = tonic::client::Grpc::new(channel);
    let path = http::uri::PathAndQuery::from_static("/portcullis.bench.Empty/Call");
    for _ in 0..times {
        client.ready().await?;
        let codec = ProstCodec::<(), ()>::default();
        let mut request = Request::new(());
        if let Some(token) = &token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        client.unary(request, path.clone(), codec).await?;
    }
    Ok(())
}

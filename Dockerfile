# The server for a PostgreSQL that is already there:
#
#   docker build -t portcullis .
#   docker run -p 50051:50051 -e PORTCULLIS_DATABASE_URL=postgres://app:secret@db/portcullis \
#       portcullis serve --insecure
#
# The container listens on every address, and without authentication the server refuses any but
# loopback. So whoever runs the image says `--insecure` themselves, and keeps the port to a network
# where every program may do everything; the image does not say it for them.

FROM rust:1-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin portcullis

FROM debian:bookworm-slim
# A user without a home, a shell or anything to write to.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin --uid 10001 portcullis
COPY --from=build /build/target/release/portcullis /usr/local/bin/portcullis
USER 10001
ENV PORTCULLIS_LISTEN=0.0.0.0:50051
EXPOSE 50051
# Asks the gRPC health service, which answers that it serves only when it can decide.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/portcullis", "health", "--server", "http://127.0.0.1:50051"]
# SIGTERM lets open calls finish.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["serve"]

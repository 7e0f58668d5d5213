# Two stages: everything that builds, then a small image with one binary and the site. ./dev installs the tools, at the versions
# of ops/dev/versions.env.
FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
WORKDIR /src
COPY dev Cargo.lock ./
COPY ops/dev ops/dev
RUN apt-get update && ./dev tools
COPY . .
RUN ./dev bundle

FROM debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && apt-get clean
WORKDIR /app
COPY --from=build /src/target/bundle/bin /usr/local/bin
COPY --from=build /src/target/bundle/site site
USER 10001:10001
# Other machines reach this address, so the server starts only with an https PUBLIC_URL and the proxies in TRUSTED_PROXIES (docs/deploy.md).
ENV SITE_ROOT=/app/site LISTEN_ADDR=0.0.0.0:3000
EXPOSE 3000
STOPSIGNAL SIGTERM
CMD ["quotient"]

# Two stages: everything that builds, then a small image with one binary and the site.
FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown \
 && apt-get update && apt-get install -y --no-install-recommends mold npm && rm -rf /var/lib/apt/lists/* \
 && npm install -g binaryen@132
WORKDIR /src
COPY Cargo.lock .
RUN version=$(awk '$3 == "\"wasm-bindgen\"" { getline; gsub(/"/, "", $3); print $3; exit }' Cargo.lock) \
 && cargo install --locked "wasm-bindgen-cli@$version" \
 && CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --debug cargo-leptos@0.3.11 --features no_downloads
COPY . .
RUN cargo leptos build --release --precompress

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home quotient
WORKDIR /app
COPY --from=build /src/target/release/quotient /src/target/release/hash.txt /usr/local/bin/
COPY --from=build /src/target/site site
USER quotient
ENV SITE_ROOT=/app/site LISTEN_ADDR=0.0.0.0:3000
EXPOSE 3000
STOPSIGNAL SIGTERM
CMD ["quotient"]

# The release image, built from source in a Rust image. Where no registry can be reached, deploy/image.sh
# builds the same image from a binary compiled on this machine.
#
#   docker build -t weir .
#   docker run -p 8080:8080 -v /var/run/docker.sock:/var/run/docker.sock:ro --group-add "$(stat -c %g /var/run/docker.sock)" weir

ARG RUST_VERSION=1.95
FROM rust:${RUST_VERSION}-bookworm AS build
WORKDIR /src
COPY . .
# A static glibc binary: nothing else has to be in the image. With --target, build scripts and procedural
# macros are still built the ordinary way.
RUN cargo build --config 'build.rustflags=["-Ctarget-feature=+crt-static"]' \
      --locked --release -p weir --target "$(rustc -vV | sed -n 's/^host: //p')" --target-dir /target \
 && mkdir -p /image/var/lib/weir /image/run/weir \
 && cp /target/*/release/weir /image/weir

FROM scratch
# The directories for state and sockets belong to the user that runs; a volume mounted there inherits that.
COPY --from=build --chown=65532:65532 /image/ /
USER 65532:65532
EXPOSE 8080 9900
HEALTHCHECK --interval=5s --timeout=2s --start-period=1s --retries=3 CMD ["/weir", "healthcheck"]
ENTRYPOINT ["/weir"]
CMD ["run", "--docker"]

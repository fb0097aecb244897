# The daemon as one Native AOT binary with the libraries it loads, and nothing else: no .NET, no shell.
#   docker build -t streaming-daemon --build-arg REVISION="$(git rev-parse HEAD)" .
# Ubuntu has the .NET 10 SDK among its own packages. The libraries come from the release that linked the binary.
# The digest pins the base: deploy/pin-images.sh replaces it by today's.
ARG BASE=ubuntu:26.04@sha256:da6fc2be547864451aa253836dd926da33623312df4a9a243e35dc877c378a78
FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates dotnet-sdk-10.0 clang libssl3 zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY global.json Directory.Build.props Directory.Packages.props .editorconfig .revision appsettings.json ./
COPY apache/index.html apache/
COPY LICENSE ./
COPY deploy/supply deploy/supply
COPY src src
# The commit: an image is built without .git.
ARG REVISION
RUN dotnet publish -c Release -r "linux-$(dpkg --print-architecture | sed s/amd64/x64/)" src/StreamingDaemon.Host -o /out \
    ${REVISION:+-p:SourceRevisionId=$REVISION}
COPY deploy/container deploy/container
# Seconds since 1970 that all files of the image get; without it, they are of the hour of the build.
ARG SOURCE_DATE_EPOCH
RUN deploy/container/make-root.sh /out/streaming-daemon deploy/container/config.toml /root-of-the-image

FROM scratch
ARG REVISION
LABEL org.opencontainers.image.title="streaming-daemon" \
      org.opencontainers.image.description="Streams language models' answers to clients that Apache hands over" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /root-of-the-image/ /
# The group is www-data, Apache's, and so the socket's: mode 0660 is all it takes.
USER 10001:33
VOLUME /var/run/streaming-daemon
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/bin/streaming-daemon", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/streaming-daemon"]

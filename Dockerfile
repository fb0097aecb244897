# The daemon as one Native AOT binary, without .NET, run by a user without rights:
#   docker build -t streaming-daemon .
# Ubuntu has the .NET 10 SDK among its own packages; built and run on the same release, so that the C library fits.
FROM ubuntu:26.04 AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates dotnet-sdk-10.0 clang zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY global.json Directory.Build.props Directory.Packages.props .editorconfig appsettings.json ./
COPY apache/index.html apache/
COPY src src
RUN dotnet publish -c Release -r linux-x64 src/StreamingDaemon.Host -o /out \
    && rm -f /out/*.dbg /out/*.pdb /out/*.xml

FROM ubuntu:26.04
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --gid www-data --no-create-home streaming-daemon \
    && install -d -o streaming-daemon -g www-data -m 0750 /var/run/streaming-daemon
COPY --from=build /out/ /usr/lib/streaming-daemon/
COPY streaming-daemon.toml /etc/streaming-daemon/config.toml
RUN ln -s /usr/lib/streaming-daemon/streaming-daemon /usr/bin/streaming-daemon
USER 10001
VOLUME /var/run/streaming-daemon
EXPOSE 9090
# The group is www-data, Apache's, and so the socket's: mode 0660 is all it takes.
ENTRYPOINT ["streaming-daemon"]
CMD ["--socket", "/var/run/streaming-daemon/streaming-daemon.sock", "--metrics", "9090"]

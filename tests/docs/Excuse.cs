namespace StreamingDaemon.DocsTests;

/// <summary>A command that these tests do not run, and why. Its references are still checked.</summary>
internal sealed record Excuse(string Page, string Name, string Why)
{
    private const string Engine = "wants a container engine and its registries";
    private const string Registries = "asks registries; tests/deploy runs it with one of its own";
    private const string Cluster = "wants a cluster";
    private const string Minutes = "takes minutes and measures: its figures, and its limits, are the machine's";
    private const string Suite = "is what runs these tests, or what test.sh runs beside them";

    public static IReadOnlyList<Excuse> All { get; } =
    [
        new("README.md", "./test.sh", Suite),
        new("CONTRIBUTING.md", "dotnet build", Suite),
        new("docs/apache.md", "apt-get install apache2 apache2-dev apache2-ssl-dev libapache2-mod-php php-fpm phpunit php-curl curl", Suite),

        new("docs/apache.md", "apt-get install chromium chromium-driver", Suite),
        new("docs/php.md", "phpunit -c apache/php/phpunit.xml", Suite),
        new("docs/apache.md", "UPDATE_SCREENSHOTS=1 dotnet run --project tests/chatpage", Suite),
        new("docs/operations.md", "UPDATE_DASHBOARD_PICTURE=1 dotnet run --project tests/deploy -- "
            + "-class \"*DashboardPictureTests\"", Suite),

        new("README.md", "docker compose up --build", Engine),
        new("README.md", "bench/why.sh", Minutes),
        new("docs/operations.md", "docker compose up -d --build", Engine),
        new("docs/operations.md", "docker compose up --build", Engine),
        new("docs/operations.md", "install -m 400 -o 10001 /dev/null openai-api-key", Engine),
        new("docs/operations.md", "OPENAI_API_BASE=http://host.docker.internal:11434/v1 OPENAI_MODEL=llama3.2 "
            + "docker compose up --build", Engine),
        new("docs/keys.md", "printf %s \"$OPENAI_API_KEY\" >openai-api-key", Engine),
        new("docs/keys.md", "printf %s \"$OPENAI_API_KEY\" |", Cluster),
        new("docs/operations.md", "docker compose --profile tls up --build", Engine),
        new("docs/operations.md", "docker compose build daemon", Engine),
        new("docs/runbooks.md", "docker compose ps daemon", Engine),
        new("docs/apache.md", "docker build apache", Engine),
        new("docs/apache.md", "modprobe tls", "wants a kernel of its own; tests/vm has one, and runs it"),
        new("docs/seccomp.md", "docker run --security-opt seccomp=deploy/seccomp/streaming-daemon.json "
            + "--security-opt no-new-privileges …", Engine),

        new("docs/seccomp.md", "deploy/seccomp/trace.sh artifacts/aot/streaming-daemon",
            "takes minutes; tests/deploy runs it with a few of the tests"),

        new("docs/kubernetes.md", "kubectl rollout undo deployment/streaming-daemon", Cluster),
        new("docs/kubernetes.md", "docker build -t \"$REGISTRY/streaming-daemon:0.1.0\" "
            + "--build-arg REVISION=\"$(git rev-parse HEAD)\" .", Engine),
        new("docs/kubernetes.md",
            "kubectl create configmap streaming-daemon-seccomp --from-file=deploy/seccomp/streaming-daemon.json",
            Cluster),
        new("docs/kubernetes.md", "printf %s \"$OPENAI_API_KEY\" |", Cluster),
        new("docs/kubernetes.md",
            "kubectl create configmap streaming-daemon-seccomp --from-file=deploy/seccomp/streaming-daemon.json \\",
            Cluster),
        new("docs/kubernetes.md", "printf '{\"stringData\":{\"delivery-secret\":\"whsec_%s\"}}' "
            + "\"$(head -c 24 /dev/urandom | base64)\" |", Cluster),
        new("docs/runbooks.md", "kubectl describe pods --selector app.kubernetes.io/name=streaming-daemon", Cluster),
        new("docs/kubernetes.md", "kubectl apply -k deploy/kubernetes/base", Cluster),
        new("docs/kubernetes.md", "kubectl kustomize deploy/kubernetes/base |", Cluster),
        new("docs/kubernetes.md", "kubectl create secret generic streaming-daemon", Cluster),
        new("CHANGELOG.md", "deploy/pin-images.sh", Registries),
        new("docs/operations.md", "deploy/pin-images.sh", Registries),
        new("docs/operations.md", "deploy/pin-images.sh --check", "tests/deploy runs it"),
        new("docs/kubernetes.md",
            "helm install streaming-daemon deploy/helm/streaming-daemon --set daemon.backend=openai \\", Cluster),
        new("deploy/helm/streaming-daemon/README.md",
            "helm install streaming-daemon deploy/helm/streaming-daemon --set daemon.backend=openai \\", Cluster),

        new("docs/operations.md",
            "journalctl -u streaming-daemon.service -o cat --since -15min | grep '\"Outcome\":\"UpstreamError\"'",
            "wants systemd's journal"),

        new("docs/performance.md", "bench/run.sh --only \"as shipped\"", Minutes),
        new("bench/README.md", "bench/idle.sh", Minutes),
        new("bench/README.md", "bench/fuzz.sh", Minutes),
        new("bench/README.md", "bench/run.sh", Minutes),
        new("bench/README.md", "bench/trials.sh", Minutes),
        new("bench/README.md", "bench/upstream-ring.sh", Minutes),
        new("bench/README.md", "bench/why.sh", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/Chaos", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/Chaos -- --answers", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/Chaos -- --costly 100", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/Chaos -- --held 400", Minutes),
        new("docs/faults.md", "dotnet run -c Release --project bench/Chaos -- --held 400", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/HandoffBench -- --daemon \"…\"", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/MockLlm", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/micro", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/micro -- --access-log", Minutes),
        new("bench/README.md", "dotnet run -c Release --project bench/micro -- --upstream", Minutes),
        new("bench/README.md", "hb() { dotnet run -c Release --project bench/HandoffBench -- \"$@\"; }", Minutes),
        new("bench/README.md", "hb --expect any --streams 2000 --rate 2400 --warm-up 200 \\", Minutes),
        new("bench/README.md", "hb --expect any --streams 1500 --rate 300 --events 200 --warm-up 200 --label plain --label kept \\", Minutes),
    ];
}

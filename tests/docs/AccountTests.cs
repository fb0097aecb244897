namespace StreamingDaemon.DocsTests;

/// <summary>A test runs every command of every page, or the command is listed here with the reason why
/// not.</summary>
public sealed class AccountTests
{
    [Fact]
    public void Every_command_of_every_page_is_run_or_excused_by_name()
    {
        var accounted = RunsAttribute.OfAll().Concat(Excuse.All.Select(e => (e.Page, e.Name))).ToList();

        Assert.True(Book.Pages.Count > 8 && Book.Commands.Count > 40, "the pages or their commands were not found");
        var unknown = Unaccounted(Book.Commands, accounted);
        Assert.True(unknown.Count == 0, $"neither run nor excused:\n{string.Join('\n', unknown)}");
        Assert.Empty(accounted.GroupBy(a => a).Where(g => g.Count() > 1).Select(g => g.Key));
        Assert.Empty(accounted.Except(Book.Commands.Select(c => (c.Page, c.Name))));
    }

    [Theory]
    [MemberData(nameof(Excuses))]
    public void Command_that_cannot_be_run_refers_to_nothing_that_is_not_there(string page, string name, string why)
    {
        Assert.NotEmpty(why);
        Assert.Empty(Reference.Complaints(Book.Find(page, name).Text));
    }

    [Fact]
    public void New_command_in_a_page_is_noticed_wherever_it_stands()
    {
        var page = """
            # A page

            Try `docker compose up`, or in a table:

            | a | b |
            |---|---|
            | x | `systemctl halt` |

                ./test.sh
                dotnet build

            ```sh
            apt-get install cowsay
            ```

            1. In a list:

                   kubectl delete namespace default

            ```text
            rm -rf / is a picture here
            ```

            Not a command: `systemctl`, `max_connections`, `data: x`, `a b c`.
            """;

        var unknown = Unaccounted(Book.CommandsOf("made-up.md", page), []);

        Assert.Equal(
            [
                "docker compose up", "systemctl halt", "./test.sh", "apt-get install cowsay",
                "kubectl delete namespace default",
            ],
            unknown.Select(c => c.Name));
        Assert.Contains("dotnet build", unknown[2].Text, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => Book.CommandsOf("x.md", "```\nunlabelled\n```").ToList());
    }

    [Theory]
    [InlineData("kubectl apply -f deploy/kubernetes/seccomp/daemonsets.yaml")]
    [InlineData("kubectl apply -k deploy/kubernetes")]
    [InlineData("kubectl create configmap streaming-daemon-profile --from-file=deploy/seccomp/streaming-daemon.json")]
    [InlineData("kubectl create secret generic streaming-daemon --from-literal=api-key=x")]
    [InlineData("kubectl rollout status deployment/chat")]
    [InlineData("kubectl set image deployment/streaming-daemon php=x")]
    [InlineData("kubectl delete namespace default")]
    [InlineData("helm install x deploy/helm/streaming-daemon --set daemon.backends=openai")]
    [InlineData("helm install x deploy/helm/streaming")]
    [InlineData("docker compose --profile metrics up")]
    [InlineData("docker compose up --build nginx")]
    [InlineData("docker build deploy")]
    [InlineData("docker compose exec daemon sh")]
    [InlineData("docker compose exec nginx /usr/bin/streaming-daemon health")]
    [InlineData("docker compose run -d --no-deps --name between nginx")]
    [InlineData("until docker exec between /usr/bin/streaming-daemon healthy; do sleep 1; done")]
    [InlineData("kubectl create configmap streaming-daemon-seccomp --from-file=x --dry-run=client -o yaml")]
    [InlineData("kubectl describe pods --selector app.kubernetes.io/name=daemon")]
    [InlineData("kubectl logs deployment/streaming-daemon --container daemon --previous")]
    [InlineData("docker run --security-opt seccomp=deploy/seccomp/streaming.json x")]
    [InlineData("bench/run.sh --quickly")]
    [InlineData("bench/walk.sh")]
    [InlineData("dotnet run -c Release --project bench/Chaos -- --second 5")]
    [InlineData("./test.sh --aot")]
    [InlineData("cd apache && kubectl apply -f apache/Dockerfiles")]
    public void Mistake_in_a_command_that_cannot_be_run_is_found(string lie) =>
        Assert.NotEmpty(Reference.Complaints(lie));

    public static TheoryData<string, string, string> Excuses()
    {
        var data = new TheoryData<string, string, string>();
        foreach (var excuse in Excuse.All)
            data.Add(excuse.Page, excuse.Name, excuse.Why);
        return data;
    }

    private static List<Command> Unaccounted(IEnumerable<Command> commands, IEnumerable<(string, string)> accounted)
    {
        var known = accounted.ToHashSet();
        return [.. commands.Where(c => !known.Contains((c.Page, c.Name)))];
    }
}

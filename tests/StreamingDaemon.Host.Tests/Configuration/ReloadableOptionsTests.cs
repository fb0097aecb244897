using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class ReloadableOptionsTests
{
    private static readonly DaemonOptions s_start = new();

    [Fact]
    public void What_may_change_is_taken_over_and_the_rest_stays()
    {
        var options = new ReloadableOptions(s_start);
        DaemonOptions? heard = null;
        options.OnChange(o => heard = o);

        var (changed, needRestart) = options.Apply(s_start with
        {
            Timeouts = s_start.Timeouts with { IdleTimeoutMs = 1, ConnectTimeoutMs = 2 },
            Logging = s_start.Logging with { Level = "error", Format = "json" },
        });

        Assert.Equal(["timeouts.idle_timeout_ms", "logging.level"], changed);
        Assert.Equal(["timeouts.connect_timeout_ms", "logging.format"], needRestart);
        Assert.Equal(s_start with
        {
            Timeouts = s_start.Timeouts with { IdleTimeoutMs = 1 },
            Logging = s_start.Logging with { Level = "error" },
        }, options.Current);
        Assert.Same(options.Current, heard);
    }

    [Fact]
    public void Nobody_hears_of_a_reload_without_a_change()
    {
        var options = new ReloadableOptions(s_start);
        options.OnChange(_ => Assert.Fail("nothing changed"));

        var (changed, needRestart) = options.Apply(s_start with { Server = s_start.Server with { Backlog = 1 } });

        Assert.Empty(changed);
        Assert.Equal(["server.backlog"], needRestart);
    }

    [Fact]
    public void Backend_that_appears_needs_a_restart_and_its_key_is_not_told()
    {
        var (changed, needRestart) = new ReloadableOptions(s_start).Apply(
            s_start with
            {
                Backends = s_start.Backends.With("openai", new OpenAIOptions { ApiKey = "sk-secret" }),
            });

        Assert.Empty(changed);
        Assert.Contains("openai.api_key", needRestart);
        Assert.All(needRestart, key => Assert.DoesNotContain("sk-secret", key, StringComparison.Ordinal));
    }

    [Fact]
    public void Key_of_a_running_backend_is_taken_over()
    {
        DaemonOptions With(string key) => s_start with
        {
            Backends = s_start.Backends.With("openai", new OpenAIOptions { ApiKey = key }),
        };
        var options = new ReloadableOptions(With("sk-old"));

        var (changed, needRestart) = options.Apply(With("sk-new"));

        Assert.Equal(["openai.api_key"], changed);
        Assert.Empty(needRestart);
        Assert.Equal(With("sk-new"), options.Current);
    }

    [Fact]
    public void Secret_for_a_new_address_waits_for_the_restart_with_it()
    {
        DaemonOptions With(string host, string secret) => s_start with
        {
            Delivery = s_start.Delivery with { Url = new Uri($"http://{host}/deliver"), Secret = secret },
            Backends = s_start.Backends.With("openai",
                new OpenAIOptions { ApiBase = new Uri($"http://{host}/v1"), ApiKey = secret, ApiKeyFile = secret }),
        };
        var options = new ReloadableOptions(With("old", "whsec_b2xk"));

        // The old receiver would refuse what the new secret signs; the old server would be shown the new key.
        var (changed, needRestart) = options.Apply(With("new", "whsec_bmV3"));

        Assert.Empty(changed);
        Assert.Equal(["delivery.secret", "delivery.url", "openai.api_base", "openai.api_key", "openai.api_key_file"],
            needRestart.Order(StringComparer.Ordinal));
        Assert.Equal(With("old", "whsec_b2xk"), options.Current);
    }

    [Fact]
    public void Log_level_and_timeouts_may_change_and_the_upstreams_connect_timeout_may_not()
    {
        var reloadable = OptionTable.BuiltIn.All.Where(spec => spec.Reloadable).Select(spec => spec.Key).ToList();

        Assert.Contains("logging:level", reloadable);
        Assert.Equal(OptionTable.BuiltIn.All.Where(spec => spec.Section == "timeouts").Select(spec => spec.Key)
            .Except(["timeouts:connect_timeout_ms"]), reloadable.Where(key => key.StartsWith("timeouts:")));
    }
}

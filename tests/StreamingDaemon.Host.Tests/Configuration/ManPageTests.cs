using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class ManPageTests
{
    [Fact]
    public void Manual_page_says_what_the_option_table_says()
    {
        if (ReferencePages.Update)
            File.WriteAllText(ManPage.FilePath, ManPage.Text());

        Assert.Equal(ManPage.Text(), File.ReadAllText(ManPage.FilePath));
    }

    [Fact]
    public void Manual_page_has_a_date_every_signal_every_exit_status_and_every_variable()
    {
        var page = File.ReadAllText(ManPage.FilePath);

        Assert.Matches(@"(?m)^\.Dd [A-Z][a-z]+ [0-9]{1,2}, [0-9]{4}$", page);
        Assert.All(["SIGTERM", "SIGINT", "SIGHUP"],
            signal => Assert.Contains($"Dv {signal}", page, StringComparison.Ordinal));
        Assert.All(["0", "1", "2", "128+n"],
            status => Assert.Contains($".It {status}\n", page, StringComparison.Ordinal));
        Assert.All(OptionTable.BuiltIn.All.Select(spec => spec.EnvAlias).OfType<string>(),
            name => Assert.Contains($".Ev {name} .\n", page, StringComparison.Ordinal));
    }
}

using System.Text.RegularExpressions;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class OptionTableTests : IDisposable
{
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    [Fact]
    public void Every_property_of_the_options_has_an_entry_in_the_table()
    {
        var properties = typeof(DaemonOptions).GetProperties()
            .Where(section => section.PropertyType.Namespace!.StartsWith("StreamingDaemon")
                && section.PropertyType != typeof(BackendSettings))
            .Select(section => (section.Name, Type: section.PropertyType))
            .Concat(BackendDescriptors.BuiltIn.Select(kind => (kind.Name, Type: kind.Defaults.GetType())))
            .SelectMany(section => section.Type.GetProperties()
                .Select(property => Flat($"{section.Name}:{property.Name}")))
            // Copied from the timeouts and the streaming limits, which all backends share.
            .Except(["openai:connecttimeoutms", "openai:maxeventbytes"])
            .Order();

        Assert.Equal(properties, OptionTable.BuiltIn.All.Select(spec => Flat(spec.Key)).Order());
    }

    private static string Flat(string name) => name.Replace("_", "").ToLowerInvariant();

    [Fact]
    public void Every_default_is_a_value_that_its_option_takes()
    {
        Assert.All(OptionTable.BuiltIn.All.Where(spec => spec.Key != "openai:api_key"), spec =>
        {
            var toml = $"[{spec.Section}]\n{spec.Name} = {spec.ToToml(OptionTable.BuiltIn.Defaults)}\n"
                // An address chooses its backend.
                + (spec.ChosenBackend is null ? "" : "[backend]\nname = \"mock\"\n");
            Assert.Equal(new DaemonOptions(), _sandbox.LoadToml(toml) with { ConfigFile = null });
        });
    }

    [Fact]
    public void The_sample_file_names_every_option_with_its_default()
    {
        if (ReferencePages.Update)
            File.WriteAllText(ReferencePages.TomlPath, ReferencePages.Toml());

        Assert.Equal(ReferencePages.Toml(), File.ReadAllText(ReferencePages.TomlPath));
    }

    [Fact]
    public void The_sample_file_changes_nothing_as_it_is_and_with_every_line_in_force()
    {
        // The test above checks that the file equals this text. While the file is being written again, it
        // does not yet.
        var sample = ReferencePages.Toml();
        var inForce = Regex.Replace(sample, "(?m)^# ([a-z0-9_]+ = )", "$1");

        Assert.Equal(OptionTable.BuiltIn.All.Count, Regex.Count(inForce, "(?m)^[a-z0-9_]+ = "));
        Assert.Equal(new DaemonOptions(), _sandbox.LoadToml(sample) with { ConfigFile = null });
        Assert.Equal(new DaemonOptions(), _sandbox.LoadToml(inForce) with { ConfigFile = null });
    }

    [Fact]
    public void The_reference_page_names_every_option_with_its_default()
    {
        var page = File.ReadAllText(ReferencePages.DocumentPath);
        var begin = page.IndexOf(ReferencePages.TableBegin) + ReferencePages.TableBegin.Length + 1;
        var end = page.IndexOf(ReferencePages.TableEnd);
        if (ReferencePages.Update)
        {
            page = page[..begin] + "\n" + ReferencePages.Table() + "\n" + page[end..];
            File.WriteAllText(ReferencePages.DocumentPath, page);
            end = page.IndexOf(ReferencePages.TableEnd);
        }

        Assert.Equal(ReferencePages.Table(), page[begin..end].Trim('\n') + "\n");
    }

    [Theory]
    [InlineData("--socket", "-s", "\"/var/run/streaming-daemon.sock\"")]
    [InlineData("--socket-mode", "-m", "\"0660\"")]
    [InlineData("--max-connections", "-c", "10000")]
    [InlineData("--delay", "-d", "50")]
    [InlineData("--thread-pool", "-t", "false")]
    [InlineData("--pool-size", "-p", "8")]
    [InlineData("--sqpoll", "-q", "false")]
    [InlineData("--metrics", "-M", "0")]
    [InlineData("--benchmark", "-b", "false")]
    [InlineData("--socket-type", null, "\"seqpacket\"")]
    [InlineData("--backend", null, "\"mock\"")]
    public void The_contract_of_the_command_line_is_kept(string name, string? shortName, string value)
    {
        var spec = Assert.Single(OptionTable.BuiltIn.All, spec => spec.Cli?.Long == name);

        Assert.Equal((shortName, value), (spec.Cli!.Short, spec.ToToml(new DaemonOptions())));
    }
}

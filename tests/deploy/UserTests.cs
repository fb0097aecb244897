using System.Text.RegularExpressions;

namespace StreamingDaemon.DeployTests;

/// <summary>Which user the daemon has, in every page and file that starts it.</summary>
public sealed partial class UserTests
{
    private const string ApachesUser = "www-data";

    [Fact]
    public void Nothing_runs_the_daemon_as_apaches_user_whose_php_could_read_its_environment()
    {
        var files = (string[])["README.md", .. FilesOf("docs"), .. FilesOf("deploy"), "docker-compose.yml", "Dockerfile"];
        var starts = files.SelectMany(file => Start().Matches(Joined(file))
            .Select(match => (File: file, User: match.Groups[1].Value, Command: match.Value))).ToList();

        Assert.Contains(starts, start => start.File == "README.md");
        Assert.Contains(starts, start => start.File == "docs/operations.md");
        Assert.All(files, file => Assert.DoesNotMatch(
            @"(?i)(?<!never )run (both|it|the daemon) as (the same|Apache's) user", Joined(file).ReplaceLineEndings(" ")));
        Assert.All(starts, start => Assert.True(start.User != ApachesUser || Send().IsMatch(start.Command), $"{start}"));
    }

    [Fact]
    public void Units_and_image_have_a_user_of_their_own_and_apaches_group()
    {
        Assert.NotEqual(ApachesUser, UnitFile.Service["User"]);
        Assert.Equal(ApachesUser, UnitFile.Service["Group"]);
        // 33 is www-data, in every Debian.
        Assert.Matches("(?m)^USER (?!33:|0:)[0-9]+:33$", File.ReadAllText(Tool.InRepository("Dockerfile")));
        var compose = Yaml.Read(File.ReadAllText(Tool.InRepository("docker-compose.yml")));
        Assert.DoesNotContain("user", ((YamlDotNet.RepresentationModel.YamlMappingNode)compose["services"]["daemon"])
            .Children.Keys.Select(key => $"{key}"));
    }

    private static IEnumerable<string> FilesOf(string directory) =>
        Directory.EnumerateFiles(Tool.InRepository(directory), "*", SearchOption.AllDirectories)
            .Where(path => Path.GetExtension(path) is not (".png" or ".svg"))
            .Select(path => Path.GetRelativePath(Tool.InRepository(), path));

    /// <summary>The text, in which a command on several lines is one line.</summary>
    private static string Joined(string file) => Continued().Replace(File.ReadAllText(Tool.InRepository(file)), " ");

    [GeneratedRegex(@"(?:setpriv --reuid[ =]|chroot --userspec=|runuser -u |sudo -u )([\w-]+).*streaming-daemon.*|"
        + @"^User=(.*)$", RegexOptions.Multiline)]
    private static partial Regex Start();

    /// <summary>"send" is Apache's part, so Apache's user is the right one.</summary>
    [GeneratedRegex(@" send ")]
    private static partial Regex Send();

    [GeneratedRegex(@"\\\n *")]
    private static partial Regex Continued();
}

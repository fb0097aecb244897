using System.Text.RegularExpressions;

namespace StreamingDaemon.DocsTests;

/// <summary>
/// A command's references, against what exists: for commands that need an engine, a cluster, or minutes.
/// </summary>
internal static partial class Reference
{
    /// <summary>Everything wrong with a command. A program or a use of it that is unknown here counts as
    /// wrong.</summary>
    public static IEnumerable<string> Complaints(string script) =>
        ShellText.Commands(script).SelectMany(
            words => Of([.. words.SkipWhile(word => word is "{" or "until" or "do" || ShellText.IsAssignment(word))]));

    private static IEnumerable<string> Of(string[] words) => words switch
    {
        [] or ["}" or "done"] or ["sleep", _] => [],
        // The output of an earlier command.
        ["kubectl", "apply", "-f", "-"] => [],
        ["kubectl", "apply", "-f", var file] => Missing(file),
        ["kubectl", .. var made, "--dry-run=client", "-o", "yaml"] => Of(["kubectl", .. made]),
        ["kubectl", "apply", "-k", var directory] => Kustomization(directory),
        ["kubectl", "create", "configmap", var name, var from] when Value(from, "--from-file") is { } file =>
            [.. Missing(file), .. NotIn(Manifests, $"configMap: {{name: {name}}}"),
                .. NotIn(Manifests, $"/profile/{Path.GetFileName(file)} ")],
        ["kubectl", "create", "secret", "generic", var name, var from] when Value(from, "--from-file") is { } pair =>
            [.. NotIn(Manifests, $"secretName: {name},"), .. NotIn(PodsConfiguration, $"/{pair.Split('=')[0]}\"\n")],
        ["kubectl", "create", "secret", "generic", var name] => NotIn(Manifests, $"secretName: {name},"),
        ["kubectl", "patch", "secret", var name, "--patch-file=/dev/stdin"] => NotIn(Manifests, $"secretName: {name},"),
        ["kubectl", "kustomize", var directory] => Kustomization(directory),
        // Another address for one that is there.
        ["sed", var expression] when expression.Split('|') is ["s", var address, _, ""] => NotIn(Manifests, address),
        // A secret into a file or a pipe.
        ["printf", ..] => [],
        ["install", "-m", "400", "-o", var user, "/dev/null", _] => NotIn(File.ReadAllText(At("Dockerfile")), $"USER {user}:"),
        ["kubectl", "rollout", "status" or "restart" or "undo", var resource] => Resource(resource),
        ["kubectl", "describe", "pods", "--selector", var label] =>
            NotIn(Manifests, $"{label.Replace("=", ": ", StringComparison.Ordinal)}\n"),
        ["kubectl", "logs", var resource, "--container", var container, "--previous"] =>
            [.. Resource(resource), .. NotIn(Manifests, $"- name: {container}\n")],
        ["docker", "compose", .. var rest] => Compose(rest),
        ["kubectl", "set", "image", var resource, var image] =>
            [.. Resource(resource), .. NotIn(Manifests, $"- name: {image.Split('=')[0]}\n")],
        ["helm", "install" or "upgrade", _, var chart, .. var options] =>
            [.. Missing($"{chart}/Chart.yaml"), .. Values($"{chart}/values.yaml", options)],
        ["docker", "build", .. var options, var directory] when options is [] or ["-t", _, ..] => Image(directory),
        ["docker", "push", _] => [],
        // Of containers that an earlier command has named.
        ["docker", "exec", _, .. var command] => Started(command),
        ["docker", "stop", "--time", _, _] or ["docker", "rm", _] => [],
        ["docker", "run", .. var options] => options.Select(o => Value(o, "seccomp")).OfType<string>().SelectMany(Missing),
        ["dotnet", "run", "-c", "Release", "--project", var project, .. var options] =>
            [.. Missing($"{project}/{Path.GetFileName(project)}.csproj"), .. Options(options, SourcesOf(project))],
        ["dotnet", "run", "--project", var tests] => NotIn(Suite, $"={tests}/bin/"),
        ["dotnet", "run", "--project", var tests, "--", "-class", var name] =>
            [.. NotIn(Suite, $"={tests}/bin/"), .. Missing($"{tests}/{name.Trim('"', '*')}.cs")],
        ["modprobe", var module] => NotIn(File.ReadAllText(At("tests/vm/guest/tls.py")), $"\"modprobe\", \"{module}\""),
        ["echo", var module, ">/etc/modules-load.d/tls.conf"] => NotIn(File.ReadAllText(At("docs/apache.md")), $"modprobe {module}"),
        ["dotnet", "build"] => Directory.GetFiles(At("."), "*.sln").Length == 1 ? [] : ["there is not one solution"],
        ["phpunit", "-c", var configuration] => [.. Missing(configuration), .. NotIn(Suite, "phpunit")],
        ["apt-get", "install", .. var packages] => packages.SelectMany(package => NotIn(Suite, package)),
        ["hb", .. var options] => Options(options, SourcesOf("bench/HandoffBench")),
        ["systemctl", "edit", var unit] => Missing($"deploy/systemd/{unit}.service"),
        ["streaming-daemon", var command, .. var options] => File.ReadAllText(At("src/StreamingDaemon.Host/Cli/CommandTree.cs")) is var tree
            ? [.. NotIn(tree, $"\"{command}\""), .. options.SelectMany(o => NotIn(tree, $"\"{o}\""))] : [],
        ["journalctl", "-u", var unit, "-o", "cat", "--since", _] => Missing($"deploy/systemd/{unit}"),
        ["grep", var pattern] => Outcome().Match(pattern) is { Success: true } match
            ? NotIn(File.ReadAllText(At("src/StreamingDaemon.Backends/StreamOutcome.cs")), $" {match.Groups[1].Value},")
            : [$"not a search for an outcome: {pattern}"],
        [var script, .. var options] when script.StartsWith("bench/", StringComparison.Ordinal)
            || script.StartsWith("deploy/", StringComparison.Ordinal) => Script(script, options),
        ["./test.sh" or ".ci/run", .. var options] => Script(words[0], options),
        _ => [$"nobody knows how to check: {string.Join(' ', words)}"],
    };

    private static string Suite { get; } = File.ReadAllText(At("test.sh"));

    private static string Manifests { get; } = string.Concat(
        Directory.EnumerateFiles(At("deploy/kubernetes"), "*.yaml", SearchOption.AllDirectories).Select(File.ReadAllText));

    private static string PodsConfiguration { get; } = File.ReadAllText(At("deploy/kubernetes/base/config.toml"));

    private static IEnumerable<string> Missing(string path) => Path.Exists(At(path))
        || path.Contains('*', StringComparison.Ordinal)
        && Directory.EnumerateFileSystemEntries(At(Path.GetDirectoryName(path)!), Path.GetFileName(path)).Any()
            ? [] : [$"there is no {path}"];

    private static IEnumerable<string> NotIn(string text, string what) =>
        text.Contains(what, StringComparison.Ordinal) ? [] : [$"nothing refers to {what.Trim()}"];

    private static IEnumerable<string> Kustomization(string directory)
    {
        var file = $"{directory}/kustomization.yaml";
        return Missing(file) is { } missing && missing.Any() ? missing
            : Listed().Matches(File.ReadAllText(At(file))).SelectMany(m => Missing($"{directory}/{m.Groups[1].Value}"));
    }

    private static IEnumerable<string> Resource(string resource)
    {
        var kind = resource.Split('/')[0];
        return Documents().Split(Manifests).Any(d =>
            Regex.IsMatch(d, $"^kind: {kind}$", RegexOptions.Multiline | RegexOptions.IgnoreCase)
            && d.Contains($"\n  name: {resource.Split('/')[^1]}\n", StringComparison.Ordinal))
            ? [] : [$"no manifest makes {resource}"];
    }

    private static IEnumerable<string> Values(string file, string[] options)
    {
        var values = Path.Exists(At(file)) ? File.ReadAllText(At(file)) : "";
        for (var i = 0; i < options.Length; i += 2)
        {
            var path = options.ElementAtOrDefault(i + 1)?.Split('=')[0].Split('.');
            if (options[i] != "--set" || path is not [var section, var name])
                yield return $"not --set section.name=value: {options[i]}";
            else if (!Regex.IsMatch(values, $@"^{section}:\n(?:[ #].*\n|\n)*? +{name}:", RegexOptions.Multiline))
                yield return $"{file} has no {section}.{name}";
        }
    }

    private static IEnumerable<string> Compose(string[] words)
    {
        var file = File.ReadAllText(At("docker-compose.yml"));
        var services = file.Split("\nservices:\n")[1].Split("\nvolumes:\n")[0];
        for (var i = 0; i < words.Length; i++)
        {
            if (words[i] == "--profile")
            {
                foreach (var complaint in NotIn(file, $"profiles: [{words[++i]}]"))
                    yield return complaint;
            }
            else if (words[i] is "--name" or "--tail" or "--signal" or "--env-file")
            {
                i++;
            }
            else if (words[i] is "-f")
            {
                foreach (var complaint in Missing(words[++i]))
                    yield return complaint;
            }
            else if (words[i] is "exec")
            {
                foreach (var complaint in Started(words[(i += 2)..]).Concat(NotIn(services, $"  {words[i - 1]}:\n")))
                    yield return complaint;
                yield break;
            }
            else if (words[i] is not ("up" or "down" or "build" or "run" or "logs" or "ps" or "kill")
                && words[i] is not ("-d" or "--build" or "--no-deps")
                && !services.Contains($"  {words[i]}:\n", StringComparison.Ordinal))
            {
                yield return $"docker-compose.yml has no service {words[i]}";
            }
        }
    }

    /// <summary>A command in the daemon's container, which has no other program.</summary>
    private static IEnumerable<string> Started(string[] command) => command is ["/usr/bin/streaming-daemon", "health"]
        ? NotIn(File.ReadAllText(At("Dockerfile")), "ENTRYPOINT [\"/usr/bin/streaming-daemon\"]")
        : [$"the image has no {string.Join(' ', command)}"];

    /// <summary>The files that a Dockerfile copies from its directory.</summary>
    private static IEnumerable<string> Image(string directory)
    {
        var file = $"{directory}/Dockerfile";
        return Missing(file) is { } missing && missing.Any() ? missing
            : Copied().Matches(File.ReadAllText(At(file)))
                .SelectMany(m => m.Groups[1].Value.Split(' ')[..^1]).SelectMany(path => Missing($"{directory}/{path}"));
    }

    /// <summary>A script exists, is executable, and a shell can read it; it or what it starts knows the
    /// options.</summary>
    private static IEnumerable<string> Script(string path, IEnumerable<string> options)
    {
        if (!File.Exists(At(path)))
            return [$"there is no {path}"];
        if ((File.GetUnixFileMode(At(path)) & UnixFileMode.UserExecute) == 0)
            return [$"{path} may not be executed"];
        var text = File.ReadAllText(At(path));
        var started = StartedBy().Match(text) is { Success: true } match ? SourcesOf(match.Groups[1].Value) : "";
        return Options(options, text + started);
    }

    private static IEnumerable<string> Options(IEnumerable<string> words, string sources) =>
        from word in words
        where word.StartsWith("--", StringComparison.Ordinal) && word.Length > 2
        // Except a command line that is an option's value.
        where !word.Contains(' ', StringComparison.Ordinal)
        let option = word.Split('=')[0]
        // BenchmarkDotNet's own.
        where option != "--filter"
        where !Regex.IsMatch(sources, $@"{option}\b(?!-)")
        select $"nobody takes {option}";

    private static string SourcesOf(string project) => !Directory.Exists(At(project)) ? ""
        : string.Concat(Directory.EnumerateFiles(At(project), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal)).Select(File.ReadAllText));

    private static string? Value(string word, string option) =>
        word.StartsWith(option + '=', StringComparison.Ordinal) ? word[(option.Length + 1)..] : null;

    private static string At(string path) => Path.Combine(Machine.Repository, path);

    [GeneratedRegex("^Outcome:(\\w+)$")]
    private static partial Regex Outcome();

    [GeneratedRegex(@"^  - (\S+\.yaml)$", RegexOptions.Multiline)]
    private static partial Regex Listed();

    [GeneratedRegex("^---$|(?=^apiVersion:)", RegexOptions.Multiline)]
    private static partial Regex Documents();

    [GeneratedRegex("^COPY (?!--from)(.*)$", RegexOptions.Multiline)]
    private static partial Regex Copied();

    [GeneratedRegex(@"\$root/(bench/\w+)/bin")]
    private static partial Regex StartedBy();
}

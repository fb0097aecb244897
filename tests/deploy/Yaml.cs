using YamlDotNet.RepresentationModel;

namespace StreamingDaemon.DeployTests;

/// <summary>Files of YAML without a type of their own.</summary>
internal static class Yaml
{
    public static YamlMappingNode Read(string text)
    {
        var stream = new YamlStream();
        stream.Load(new StringReader(text));
        return (YamlMappingNode)stream.Documents.Single().RootNode;
    }

    /// <summary>Scalars and lists by their dotted paths.</summary>
    public static IReadOnlyDictionary<string, string> Leaves(string text) =>
        LeavesOf(Read(text), "").ToDictionary(leaf => leaf.Path, leaf => leaf.Value);

    private static IEnumerable<(string Path, string Value)> LeavesOf(YamlMappingNode node, string before) =>
        node.Children.SelectMany(child => child.Value is YamlMappingNode { Children.Count: > 0 } inner
            ? LeavesOf(inner, $"{before}{child.Key}.")
            : [($"{before}{child.Key}", $"{child.Value}")]);
}

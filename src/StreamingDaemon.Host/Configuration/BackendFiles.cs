using System.Text;

namespace StreamingDaemon.Host.Configuration;

/// <summary>Reads the files that backends use: certificates.</summary>
internal static class BackendFiles
{
    /// <summary>Sets the contents of the files that are named.</summary>
    public static DaemonOptions Fill(DaemonOptions options, OptionTable table, ConfigurationErrors errors)
    {
        foreach (var kind in options.Backends.Kinds)
        {
            foreach (var file in kind.Files)
            {
                var settings = options.Backends.Of(kind.Name).Options;
                if (file.Path.Get(settings) is not { } path)
                    continue;
                var name = table.Find($"{kind.Name}:{file.Path.Name}")!.Names;
                if (RegularFile.TryRead(path, out var content) is { } problem)
                    errors.Add(name, $"{ShownValue.Of(path)}: {problem}");
                else
                    settings = file.Content.Set(settings, Encoding.UTF8.GetString(content));
                options = options with { Backends = options.Backends.With(kind.Name, settings) };
            }
        }

        return options;
    }
}

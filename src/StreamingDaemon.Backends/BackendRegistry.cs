using System.Diagnostics.CodeAnalysis;

namespace StreamingDaemon.Backends;

/// <summary>The backends of this process by name. Immutable, safe for concurrent use.</summary>
public sealed class BackendRegistry
{
    private readonly Dictionary<string, IStreamingBackend> _backends = new(StringComparer.OrdinalIgnoreCase);

    /// <param name="backends">All registered backends.</param>
    /// <param name="defaultName">The backend for requests that name none, or an unknown one.</param>
    /// <exception cref="ArgumentException">Two backends share a name, or the default is not registered; the
    /// message lists the known names.</exception>
    public BackendRegistry(IEnumerable<IStreamingBackend> backends, string defaultName)
    {
        ArgumentNullException.ThrowIfNull(backends);
        ArgumentNullException.ThrowIfNull(defaultName);
        foreach (var backend in backends)
        {
            if (!_backends.TryAdd(backend.Name, backend))
                throw new ArgumentException($"Two backends are named '{backend.Name}'.", nameof(backends));
        }

        var known = _backends.Count == 0
            ? "none is registered"
            : "known are " + string.Join(", ", _backends.Keys.Order(StringComparer.Ordinal));
        Default = _backends.GetValueOrDefault(defaultName) ?? throw new ArgumentException(
            $"There is no backend '{defaultName}': {known}.", nameof(defaultName));
    }

    /// <summary>The backend for requests that name none.</summary>
    public IStreamingBackend Default { get; }

    /// <summary>All names, in no particular order.</summary>
    public IReadOnlyCollection<string> Names => _backends.Keys;

    /// <summary>The backend of that name, ignoring case. <see cref="Default"/> if the name is null or
    /// unknown, as for the handoff's <c>backend</c> field.</summary>
    public IStreamingBackend Resolve(string? name) => TryGet(name, out var backend) ? backend : Default;

    /// <summary>Finds a backend without falling back, so that a caller can log the fallback.</summary>
    public bool TryGet(string? name, [NotNullWhen(true)] out IStreamingBackend? backend)
    {
        backend = null;
        return name is not null && _backends.TryGetValue(name, out backend);
    }
}

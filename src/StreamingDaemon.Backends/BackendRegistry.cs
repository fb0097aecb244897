using System.Diagnostics.CodeAnalysis;

namespace StreamingDaemon.Backends;

/// <summary>The backends of this process by name. Immutable, safe for concurrent use.</summary>
public sealed class BackendRegistry
{
    private readonly Dictionary<string, IStreamingBackend> _backends = new(StringComparer.OrdinalIgnoreCase);

    /// <param name="backends">All that were registered.</param>
    /// <param name="defaultName">Whom requests get that name nobody, or nobody known.</param>
    /// <exception cref="ArgumentException">Two backends share a name, or the default is none of them; the
    /// message names those known.</exception>
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

    /// <summary>The backend of requests that name none.</summary>
    public IStreamingBackend Default { get; }

    /// <summary>All names, in no order.</summary>
    public IReadOnlyCollection<string> Names => _backends.Keys;

    /// <summary>The backend of that name, in any case of letters; <see cref="Default"/> where the name is
    /// null or unknown, as the handoff's <c>backend</c> field has it.</summary>
    public IStreamingBackend Resolve(string? name) => TryGet(name, out var backend) ? backend : Default;

    /// <summary>Finds a backend without falling back, so that a caller can log that it had to.</summary>
    public bool TryGet(string? name, [NotNullWhen(true)] out IStreamingBackend? backend)
    {
        backend = null;
        return name is not null && _backends.TryGetValue(name, out backend);
    }
}

using StackExchange.Redis.Configuration;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>The password of Redis. Its file is read again for each connection: a password that changes needs
/// no restart.</summary>
internal sealed class RedisPassword : DefaultOptionsProvider
{
    private readonly string? _file;
    private string? _last;

    /// <param name="file">The file, or null if Redis asks for none.</param>
    /// <exception cref="IOException">It holds no usable password.</exception>
    public RedisPassword(string? file)
    {
        _file = file;
        if (file is not null && SecretFile.TryRead(file, out _last) is { } problem)
            throw new IOException($"answers.redis_password_file: {ShownValue.Of(file)}: {problem}");
    }

    /// <remarks>While the file is replaced, the last one holds.</remarks>
    public override string? Password => _file is null ? null
        : SecretFile.Read(_file) is { } key ? _last = key : Volatile.Read(ref _last);
}

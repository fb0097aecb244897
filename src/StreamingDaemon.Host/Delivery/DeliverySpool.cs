using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// The directory in which deliveries wait: a file each, in <c>pending</c> until the receiver has it, in
/// <c>dead</c> once it will not be sent again. Several processes may use one: the one with the lock sends,
/// the others write, and tell it so by touching a file.
/// </summary>
internal sealed class DeliverySpool(string directory)
{
    private const string TemporaryExtension = ".tmp";

    private const string Fix = "Give the daemon's user a directory (StateDirectory= of a unit, a volume), "
        + "and name it in delivery.spool_dir";

    /// <summary>Files of a process that died while it wrote them are removed after this time.</summary>
    private static readonly TimeSpan s_leftBehind = TimeSpan.FromHours(1);

    private readonly string _pending = Path.Combine(directory, "pending");
    private readonly string _dead = Path.Combine(directory, "dead");
    private readonly string _changed = Path.Combine(directory, "changed");

    public string Directory => directory;

    /// <summary>Makes the directories, for their user only.</summary>
    /// <exception cref="IOException">One cannot be made.</exception>
    /// <exception cref="UnauthorizedAccessException">One cannot be made.</exception>
    public void Create()
    {
        foreach (var path in (string[])[directory, _pending, _dead])
            SpoolFiles.CreateDirectory(path);
    }

    /// <summary>Makes the directories and tries to write there.</summary>
    /// <returns>Null, or what is wrong.</returns>
    public string? Problem()
    {
        try
        {
            Create();
            var probe = Path.Combine(_pending, SpoolName.New(default) + TemporaryExtension);
            SpoolFiles.WriteDurably(probe, "probe"u8);
            File.Delete(probe);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"{directory}: deliveries cannot be written there: {e.Message.TrimEnd('.')}. {Fix}";
        }
    }

    /// <summary>As <see cref="Problem"/>, but makes nothing: whoever only checks may be another user.
    /// </summary>
    public string? ProblemAtLook()
    {
        if (System.IO.Directory.Exists(_pending))
            return Problem();
        var parent = Path.GetFullPath(directory);
        while (!Path.Exists(parent) && Path.GetDirectoryName(parent) is { } above)
            parent = above;
        return SpoolFiles.IsWritable(parent) ? null
            : $"{directory}: it is not there, and this user may not make it in {parent}. {Fix}";
    }

    /// <summary>Writes the content of a delivery. It is none before <see cref="Publish"/>.</summary>
    /// <exception cref="IOException">The disk is full, or fails.</exception>
    /// <exception cref="UnauthorizedAccessException">The directory is not writable.</exception>
    public void Prepare(SpoolName name, ReadOnlySpan<byte> body)
    {
        var path = TemporaryOf(name);
        try
        {
            SpoolFiles.WriteDurably(path, body);
        }
        catch (DirectoryNotFoundException)
        {
            // Somebody has removed it meanwhile.
            Create();
            SpoolFiles.WriteDurably(path, body);
        }
        catch (IOException)
        {
            // Half a file must not take the place that the next one needs.
            Remove(path);
            throw;
        }
    }

    /// <summary>Makes prepared deliveries visible and durable, all at once.</summary>
    /// <exception cref="IOException">The disk fails.</exception>
    public void Publish(IReadOnlyCollection<SpoolName> names)
    {
        try
        {
            foreach (var name in names)
            {
                // With overwrite it is rename(2); without, a link and an unlink.
                File.Move(TemporaryOf(name), PendingPath(name), overwrite: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            foreach (var name in names)
                Remove(TemporaryOf(name));
            throw;
        }

        SpoolFiles.SyncDirectory(_pending);
    }

    /// <summary>Takes the right to send; null if another process has it.</summary>
    /// <exception cref="IOException">The directory cannot be used.</exception>
    public SafeFileHandle? TryLock()
    {
        if (!System.IO.Directory.Exists(directory))
            Create();
        return SpoolFiles.TryLock(Path.Combine(directory, "lock"));
    }

    /// <summary>Tells the process that sends to look.</summary>
    public void Touch()
    {
        try
        {
            // Not the time alone: two changes within a tick of a clock would be one. Root may write it.
            SpoolFiles.Replace(_changed, RandomNumberGenerator.GetBytes(sizeof(long)), isForAll: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It looks again within a minute anyway.
        }
    }

    /// <summary>Changes with each <see cref="Touch"/>.</summary>
    public long Touched()
    {
        try
        {
            return BitConverter.ToInt64(File.ReadAllBytes(_changed));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return 0;
        }
    }

    /// <summary>Opens a delivery to send it.</summary>
    /// <exception cref="FileNotFoundException">It is gone.</exception>
    public FileStream OpenPending(SpoolName name) => SpoolFiles.OpenToRead(PendingPath(name));

    /// <summary>It is not there; not only hard to see at the moment.</summary>
    public bool IsGone(SpoolName name) => SpoolFiles.IsGone(PendingPath(name));

    /// <summary>Removes a delivery that has arrived, or that nobody wants.</summary>
    /// <returns>False if it is still there.</returns>
    public bool RemovePending(SpoolName name)
    {
        Remove(PendingPath(name));
        Remove(AttemptsOf(_pending, name));
        return IsGone(name);
    }

    public void RemoveDead(SpoolName name)
    {
        Remove(Path.Combine(_dead, name.FileName));
        Remove(AttemptsOf(_dead, name));
    }

    /// <summary>A delivery will not be sent again.</summary>
    /// <returns>False if it cannot be moved.</returns>
    public bool TryMoveToDead(SpoolName name, string reason)
    {
        NoteFailure(name, reason);
        try
        {
            Move(AttemptsOf(_pending, name), AttemptsOf(_dead, name));
            // First: seen as dead, it must not look as old as its answer is.
            SpoolFiles.SetTime(PendingPath(name), DateTime.UtcNow);
            Move(PendingPath(name), Path.Combine(_dead, name.FileName));
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>A dead delivery is to be sent after all: behind what waits, with all its time.</summary>
    public void Revive(SpoolName name)
    {
        Move(Path.Combine(_dead, name.FileName), PendingPath(name.Renewed()));
        Remove(AttemptsOf(_dead, name));
    }

    public SpoolAttempts? AttemptsOfPending(SpoolName name) =>
        SpoolAttempts.Read(AttemptsOf(_pending, name));

    public SpoolAttempts? AttemptsOfDead(SpoolName name) => SpoolAttempts.Read(AttemptsOf(_dead, name));

    /// <summary>Notes how a delivery failed, if there is room.</summary>
    public void NoteFailure(SpoolName name, string reason)
    {
        var before = AttemptsOfPending(name)?.Count ?? 0;
        try
        {
            SpoolFiles.Replace(AttemptsOf(_pending, name),
                new SpoolAttempts(before + 1, DateTimeOffset.UtcNow, reason).ToJson());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The disk is full: only the list of deliveries knows less.
        }
    }

    /// <summary>Forgets how a delivery failed: it is sent at once.</summary>
    public void ForgetAttempts(SpoolName name) => Remove(AttemptsOf(_pending, name));

    /// <summary>The deliveries that wait, in no order.</summary>
    public IEnumerable<SpoolName> Pending() => NamesIn(_pending);

    /// <summary>The deliveries that will not be sent again, in no order.</summary>
    public IEnumerable<SpoolName> Dead() => NamesIn(_dead);

    /// <summary>The same, with the bytes of each, and since when it is dead.</summary>
    public List<(SpoolName Name, long Bytes, DateTime Since)> DeadLetters()
    {
        var letters = new List<(SpoolName, long, DateTime)>();
        foreach (var name in Dead())
        {
            var file = new FileInfo(Path.Combine(_dead, name.FileName));
            // Somebody may drop it just now.
            if (file.Exists)
                letters.Add((name, file.Length, file.LastWriteTimeUtc));
        }

        return letters;
    }

    /// <summary>Removes what processes have left behind that died.</summary>
    public void RemoveLeftovers()
    {
        foreach (var path in SpoolFiles.In(_pending))
        {
            var file = Path.GetFileName(path);
            var isLeft = SpoolName.TryParse(file, SpoolName.AttemptsExtension, out var of) ? IsGone(of)
                : !file.EndsWith(SpoolName.Extension, StringComparison.Ordinal);
            if (isLeft && DateTime.UtcNow - File.GetLastWriteTimeUtc(path) > s_leftBehind)
                Remove(path);
        }
    }

    private static IEnumerable<SpoolName> NamesIn(string path)
    {
        foreach (var file in SpoolFiles.In(path))
        {
            if (SpoolName.TryParse(Path.GetFileName(file.AsSpan()), SpoolName.Extension, out var name))
                yield return name;
        }
    }

    private string PendingPath(SpoolName name) => Path.Combine(_pending, name.FileName);

    private string TemporaryOf(SpoolName name) => Path.Combine(_pending, name + TemporaryExtension);

    private static string AttemptsOf(string path, SpoolName name) =>
        Path.Combine(path, name.AttemptsFileName);

    private void Move(string from, string to)
    {
        try
        {
            File.Move(from, to, overwrite: true);
        }
        catch (FileNotFoundException)
        {
            // Another process was first.
        }
        catch (DirectoryNotFoundException) when (File.Exists(from))
        {
            // Somebody has removed it meanwhile.
            Create();
            File.Move(from, to, overwrite: true);
        }
    }

    private static void Remove(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is gone, or will be sent again, which is harmless.
        }
    }
}

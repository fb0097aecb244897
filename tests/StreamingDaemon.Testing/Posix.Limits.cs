using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing;

// User ids, and the limit of descriptors.
public static unsafe partial class Posix
{
    private const int RLimitNoFile = 7;
    private const int ErrnoMFile = 24;

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial int GetEUidRaw();

    [LibraryImport("libc", EntryPoint = "getegid")]
    private static partial int GetEGidRaw();

    [LibraryImport("libc", EntryPoint = "dup", SetLastError = true)]
    private static partial int DupRaw(int fd);

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int GetRLimitRaw(int resource, ulong* limits);

    [LibraryImport("libc", EntryPoint = "setrlimit", SetLastError = true)]
    private static partial int SetRLimitRaw(int resource, ulong* limits);

    public static int EffectiveUid() => GetEUidRaw();

    public static int EffectiveGid() => GetEGidRaw();

    /// <summary>Limits this process to a few more descriptors than are open, until the result is disposed.
    /// Call it before anything that reads the limit only once, for example an accept when it is
    /// armed.</summary>
    public static BoundedTable BoundDescriptorTable(int spare) => new(spare);

    /// <summary>This process's descriptor table, which can be filled completely.</summary>
    public sealed class BoundedTable : IDisposable
    {
        private readonly Stack<int> _fillers = [];
        private readonly ulong _soft;

        internal BoundedTable(int spare)
        {
            StartPoolThreads();
            var highest = Directory.GetFileSystemEntries("/proc/self/fd")
                .Max(entry => int.Parse(Path.GetFileName(entry), null));
            _soft = SetSoftLimit((ulong)(highest + spare));
        }

        /// <summary>Fills the table and keeps it full: if the runtime frees a descriptor, for example once a
        /// thread has started, this takes it too.</summary>
        public Task FillAsync()
        {
            var stillFull = 0;
            return Eventually.TrueAsync(() => (stillFull = Fill() ? 0 : stillFull + 1) == 20);
        }

        /// <returns>True if there was a free place.</returns>
        private bool Fill()
        {
            for (var before = _fillers.Count; ;)
            {
                var fd = DupRaw(0);
                if (fd < 0 && Marshal.GetLastPInvokeError() == ErrnoMFile)
                    return _fillers.Count > before;
                _fillers.Push(Check(fd, "dup"));
            }
        }

        /// <summary>Frees some places, or all.</summary>
        public void Release(int count = int.MaxValue)
        {
            for (; count > 0 && _fillers.Count > 0; count--)
                _ = Close(_fillers.Pop());
        }

        public void Dispose()
        {
            Release();
            _ = SetSoftLimit(_soft);
        }

        /// <summary>CoreCLR needs a descriptor for a moment to start a thread. A pool that wants one more
        /// while the table is full throws OutOfMemoryException on a worker, and the test hangs. With more
        /// threads than a test uses, it wants none: idle ones stay for 20 s.</summary>
        private static void StartPoolThreads()
        {
            const int threads = 24;
            ThreadPool.GetMinThreads(out var workers, out var completions);
            _ = ThreadPool.SetMinThreads(Math.Max(workers, threads), completions);
            using var all = new CountdownEvent(threads);
            using var go = new ManualResetEventSlim();
            var running = Enumerable.Range(0, threads).Select(_ => Task.Run(() =>
            {
                all.Signal();
                go.Wait();
            })).ToArray();
            all.Wait();
            go.Set();
            Task.WaitAll(running);
            _ = ThreadPool.SetMinThreads(workers, completions);
        }

        private static ulong SetSoftLimit(ulong soft)
        {
            var limits = stackalloc ulong[2];
            Check(GetRLimitRaw(RLimitNoFile, limits), "getrlimit");
            var before = limits[0];
            limits[0] = soft;
            Check(SetRLimitRaw(RLimitNoFile, limits), "setrlimit");
            return before;
        }
    }
}

using System.Runtime.InteropServices;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Asks about a file in a short-lived child process. A call that never returns, even after SIGKILL, would
/// keep this process from disappearing. So the child makes the call, and is left behind if it hangs.
/// </summary>
/// <remarks>The child is this program again, and runs <see cref="Serve"/>. If the system gives no child (the
/// seccomp profile allows none), the caller makes the call itself. It never does so once a child was
/// started: what stopped that child would keep this process too.</remarks>
internal static unsafe partial class FileProcess
{
    /// <summary>The first argument of the child. Users never pass it.</summary>
    public const string Argument = "file-for-parent";

    private const string Program = "/proc/self/exe";

    /// <summary>posix_spawn_file_actions_t has 80 bytes.</summary>
    private const int ActionsBytes = 256;

    private const int CloseOnExec = 0x80000; // O_CLOEXEC
    private const int ReadWrite = 2; // O_RDWR
    private const int Eintr = 4;

    /// <summary>The arguments that run this program; null if another program hosts it, as a test does.
    /// </summary>
    private static string[]? s_command;

    [LibraryImport("libc", EntryPoint = "pipe2")]
    private static partial int Pipe(int* ends, int flags);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "waitpid", SetLastError = true)]
    private static partial int WaitPid(int pid, int* status, int options);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_init")]
    private static partial int InitActions(byte* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_destroy")]
    private static partial int DestroyActions(byte* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_adddup2")]
    private static partial int AddDuplicate(byte* actions, int fd, int number);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addopen",
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AddOpen(byte* actions, int number, string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addclosefrom_np")]
    private static partial int AddCloseFrom(byte* actions, int number);

    [LibraryImport("libc", EntryPoint = "posix_spawn", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Spawn(int* pid, string path, byte* actions, void* attributes,
        nint* arguments, nint* environment);

    /// <summary>Allows this process to start itself as a child. Call it in Main.</summary>
    public static void Enable()
    {
        var first = Environment.GetCommandLineArgs()[0];
        // With a JIT, first is the assembly. Only the program dotnet needs it as an argument: the host that a
        // build puts beside the assembly finds it by its own name.
        s_command = Path.GetFileName(Environment.ProcessPath) == "dotnet"
            ? ["dotnet", Path.GetFullPath(first)] : ["streaming-daemon"];
    }

    /// <summary>Whether a child should make the calls on this path.</summary>
    public static bool IsFor(string path) => s_command is not null && StubbornMounts.Hold(path);

    /// <summary>In the child: answers on standard output.</summary>
    /// <returns>The exit code. If it is not 0, there is no answer.</returns>
    public static int Serve(ReadOnlySpan<string> arguments)
    {
        if (arguments is not [var question, var path]
            || FileQuestion.Answer(question, path) is not { } answer)
        {
            return Runtime.ExitCode.Usage;
        }

        using var output = Console.OpenStandardOutput();
        output.Write(FileQuestion.Framed(answer));
        return Runtime.ExitCode.Success;
    }

    /// <summary>Asks a child. Returns when the child answers, however long that takes.</summary>
    /// <returns>Null if there is no child. Empty if the child ended without an answer.</returns>
    public static byte[]? Ask(string question, string path)
    {
        var ends = stackalloc int[2];
        if (Pipe(ends, CloseOnExec) != 0)
            return null;
        var pid = TrySpawn([.. s_command!, Argument, question, path], ends[1]);
        _ = Close(ends[1]);
        byte[]? answer = null;
        if (pid > 0)
        {
            _ = RegularFile.TryReadAll(ends[0], FileQuestion.MaxBytes, out var said);
            answer = FileQuestion.Unframed(said);
        }

        _ = Close(ends[0]);
        // Its status says nothing. If SIGCHLD is ignored, there is none.
        while (pid > 0 && WaitPid(pid, null, 0) < 0 && Marshal.GetLastPInvokeError() == Eintr)
        {
        }

        return answer;
    }

    /// <returns>The child, or 0.</returns>
    private static int TrySpawn(string[] command, int output)
    {
        var actions = stackalloc byte[ActionsBytes];
        var environment = Environment.GetEnvironmentVariables().Cast<System.Collections.DictionaryEntry>()
            .Select(variable => $"{variable.Key}={variable.Value}");
        var (arguments, variables) = (new Strings(command), new Strings(environment));
        if (InitActions(actions) != 0)
            return 0;
        try
        {
            // The child may stay for long, so it gets no client's socket and only its own pipe.
            if (AddOpen(actions, 0, "/dev/null", ReadWrite, 0) != 0 || AddDuplicate(actions, output, 1) != 0
                || AddDuplicate(actions, 0, 2) != 0 || AddCloseFrom(actions, 3) != 0)
            {
                return 0;
            }

            int pid;
            fixed (nint* firstArgument = arguments.Pointers, firstVariable = variables.Pointers)
                return Spawn(&pid, Program, actions, null, firstArgument, firstVariable) == 0 ? pid : 0;
        }
        finally
        {
            _ = DestroyActions(actions);
            arguments.Free();
            variables.Free();
        }
    }

    /// <summary>C strings, with a null pointer after the last.</summary>
    private readonly struct Strings(IEnumerable<string> texts)
    {
        public nint[] Pointers { get; } = [.. texts.Select(Marshal.StringToCoTaskMemUTF8), 0];

        public void Free() => Array.ForEach(Pointers, Marshal.FreeCoTaskMem);
    }
}

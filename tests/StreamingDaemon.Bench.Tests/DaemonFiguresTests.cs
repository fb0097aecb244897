using System.Diagnostics;
using StreamingDaemon.Bench.Daemon;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Trials;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

public sealed class DaemonFiguresTests
{
    private const string AfterName = " S 17 42 42 0 -1 4194304 100 200 0 0 1234 567 89 10 20 0 23 0 5000 1000000 250 0";

    [Theory]
    [InlineData("daemon")]
    [InlineData("my daemon")]
    [InlineData("a) R 1 2 (b")]
    [InlineData(")")]
    public void Times_are_read_whatever_the_command_is_called(string name)
    {
        var stat = ProcStat.Parse($"42 ({name}){AfterName}\n");

        Assert.Equal(new ProcStat(17, 100, 1234, 567, 89, 10, 23), stat);
    }

    [Theory]
    [InlineData("")]
    [InlineData("42 (daemon) S 17 42")]
    public void A_line_that_is_none_is_no_zero(string line) =>
        Assert.Throws<FormatException>(() => ProcStat.Parse(line));

    [Fact]
    public void What_the_host_took_is_of_the_time_that_was_wanted_and_idle_cores_of_all_time()
    {
        var before = MachineCpu.Parse("cpu  100 0 100 1000 50 0 10 5 0 0");
        var after = MachineCpu.Parse("cpu  160 10 120 1080 70 5 5 25 0 0");

        var passed = after.Since(before);

        // 60 + 10 + 20 + 5 - 5 busy, 80 + 20 idle, 20 stolen.
        Assert.Equal(new MachineCpu(90, 100, 20), passed);
        Assert.Equal(20.0 / 110, passed.StolenShare);
        Assert.Equal(2 * 100.0 / 210, passed.IdleCores(2));
        Assert.Null(default(MachineCpu).StolenShare);
        Assert.Null(default(MachineCpu).IdleCores(2));
    }

    [Theory]
    [InlineData("")]
    [InlineData("cpu0 1 2 3 4 5 6 7 8 9 10")]
    [InlineData("cpu  1 2 3 4 5 6 7")]
    public void A_machine_without_a_steal_column_is_not_one_that_nothing_was_stolen_from(string line) =>
        Assert.Throws<FormatException>(() => MachineCpu.Parse(line));

    [Fact]
    public async Task The_processs_own_times_agree_with_what_the_runtime_says()
    {
        using var directory = new TempDirectory();
        // One that works, and has no children: those of this process belong to other tests.
        using var busy = ChildProcess.Start("sh -c 'while :; do :; done'", directory.File("log"));
        using var process = Process.GetProcessById(busy.Pid);
        await Eventually.TrueAsync(() => CpuSeconds(process) > 0.1);

        var before = CpuSeconds(process);
        var usage = busy.Tree.Usage();
        var after = CpuSeconds(process);

        // Both sides of it: no tolerance but the ticks' own.
        var tick = 2.0 / Native.TicksPerSecond;
        Assert.InRange(usage.CpuSeconds, before - tick, after + tick);
        Assert.InRange(usage.Threads, 1, 10_000);
        Assert.InRange(usage.ResidentKb, 100, usage.PeakKb);
    }

    private static double CpuSeconds(Process process)
    {
        process.Refresh();
        return process.TotalProcessorTime.TotalSeconds;
    }

    [Fact]
    public async Task Children_are_counted_while_they_live_and_when_they_have_been_waited_for()
    {
        using var directory = new TempDirectory();
        Assert.Equal(0, Posix.MakeFifo(directory.File("gate")));
        Assert.Equal(0, Posix.MakeFifo(directory.File("end")));
        // A child that works, then waits to be let go; the parent waits for it, and then for ever.
        File.WriteAllText(directory.File("parent"), $"""
            cd {directory.Path}
            ( i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; read x <gate ) &
            wait
            read y <end
            """);
        using var shell = ChildProcess.Start($"sh {directory.File("parent")}", directory.File("log"));

        var fiveTicks = 5.0 / Native.TicksPerSecond;
        await Eventually.TrueAsync(
            () => shell.Tree.Pids().Count == 2 && shell.Tree.Usage().CpuSeconds > fiveTicks);
        var living = shell.Tree.Usage().CpuSeconds;
        File.WriteAllText(directory.File("gate"), "go\n");
        await Eventually.TrueAsync(() => shell.Tree.Pids().Count == 1);
        Assert.True(shell.Tree.Usage().CpuSeconds >= living);
    }

    [Fact]
    public void One_fields_name_is_not_taken_for_the_end_of_anothers()
    {
        const string status = "Name:\tx\nVmHWM:\t  2048 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n";

        Assert.Equal(2048, ProcessTree.StatusField(status, "VmHWM"));
        Assert.Equal(7, ProcessTree.StatusField(status, "voluntary_ctxt_switches"));
        Assert.Equal(9, ProcessTree.StatusField(status, "nonvoluntary_ctxt_switches"));
        Assert.Equal(0, ProcessTree.StatusField(status, "VmRSS"));
    }

    [Fact]
    public void Collections_and_allocations_are_taken_as_differences()
    {
        var before = RuntimeCounters.Parse("# HELP x\ndotnet_collection_count_total{generation=\"0\"} 5\n"
            + "dotnet_collection_count_total{generation=\"2\"} 1\ndotnet_gc_allocated_bytes_total 1000\n");
        var after = RuntimeCounters.Parse("dotnet_collection_count_total{generation=\"0\"} 8\n"
            + "dotnet_collection_count_total{generation=\"2\"} 1\ndotnet_gc_allocated_bytes_total 2.5e3\nother 7\n");

        var during = after.Since(before);

        Assert.Equal(3, during.Collections["0"]);
        Assert.Equal(0, during.Collections["2"]);
        Assert.Equal(1_500, during.AllocatedBytes);
        Assert.Null(RuntimeCounters.Parse("other 7\n").AllocatedBytes);
    }

    [Fact]
    public void The_floor_and_the_calls_are_read_from_what_the_programs_print()
    {
        Assert.Equal(2.512, Floor.Parse("unix uring n=5000 events=100000 cpu_us_per_event=2.512\n"));
        Assert.Throws<InvalidOperationException>(() => Floor.Parse("socketpair: Too many open files"));

        var calls = SyscallCount.Parse(
            "    calls syscall\n--------- ----------------\n      400 getsockopt\n       12 io_uring_enter\n"
            + "--------- ----------------\n      412 total\n");
        Assert.Equal(2, calls.Count);
        Assert.Equal(400, calls["getsockopt"]);
        Assert.Equal(12, calls["io_uring_enter"]);

        calls = SyscallCount.ParsePerf(
            "# started on Tue\n\n100;;raw_syscalls:sys_enter;5;100.00;;\n60;;syscalls:sys_enter_io_uring_enter;5;1;;\n"
            + "0;;syscalls:sys_enter_read;5;1;;\n<not counted>;;syscalls:sys_enter_write;0;100.00;;\n");
        Assert.Equal(2, calls.Count);
        Assert.Equal(60, calls["io_uring_enter"]);
        Assert.Equal(40, calls["others"]);
    }

    [Fact]
    public void A_command_line_is_read_as_one_types_it()
    {
        var command = CommandLineText.Parse("A=1 B_2='x y' /bin/daemon --a \"b c\" --d=e '' C=3");

        Assert.Equal("/bin/daemon", command.Program);
        Assert.Equal(["--a", "b c", "--d=e", "", "C=3"], command.Arguments);
        Assert.Equal("1", command.Environment["A"]);
        Assert.Equal("x y", command.Environment["B_2"]);
        Assert.Throws<FormatException>(() => CommandLineText.Parse("A=1"));
        Assert.Throws<FormatException>(() => CommandLineText.Parse("daemon 'a"));
    }
}

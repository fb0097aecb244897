using System.Runtime.InteropServices;
using StreamingDaemon.Host.Tests.Configuration;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Cli;

/// <summary>Runs alone, because a signal to this process drains every daemon in it.</summary>
[CollectionDefinition(nameof(SignalTests), DisableParallelization = true)]
[Collection(nameof(SignalTests))]
public sealed partial class SignalTests : IDisposable
{
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    [Fact]
    public async Task A_signal_is_left_to_the_action()
    {
        using var handled = new SemaphoreSlim(0);
        using var ours = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            handled.Release();
        });
        var invocation = new Invocation();
        invocation.Actions.Answer = async cancellationToken =>
        {
            // Signals are handled one by one: at the second, all handlers of the first have finished.
            for (var i = 0; i < 2; i++)
            {
                Assert.Equal(0, Kill(Environment.ProcessId, 15));
                await handled.WaitAsync(CancellationToken.None);
            }
            return cancellationToken.IsCancellationRequested ? 99 : 7;
        };

        Assert.Equal(7, await invocation.RunAsync(_sandbox));
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);
}

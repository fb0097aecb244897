using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Ring;

public sealed class RingSetupDiagnosisTests
{
    private static readonly RingSetupDiagnosis.Environment s_plain = new("6.12.0-1-amd64", 0, false, "8388608");

    [Fact]
    public void Eperm_with_the_sysctl_at_two_names_the_sysctl_and_not_seccomp()
    {
        var message = Explain(Errno.Perm, s_plain with { IoUringDisabled = 2, SeccompFiltered = true });

        Assert.Contains("kernel.io_uring_disabled is 2", message, StringComparison.Ordinal);
        Assert.Contains("sysctl -w kernel.io_uring_disabled=0", message, StringComparison.Ordinal);
        Assert.DoesNotContain("seccomp", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Eperm_with_the_sysctl_at_one_names_the_group()
    {
        var message = Explain(Errno.Perm, s_plain with { IoUringDisabled = 1 });

        Assert.Contains("kernel.io_uring_group", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(null)]
    public void Eperm_without_the_sysctl_is_seccomp(int? disabled)
    {
        var message = Explain(Errno.Perm, s_plain with { IoUringDisabled = disabled, SeccompFiltered = true });

        Assert.Contains("seccomp profile blocks io_uring", message, StringComparison.Ordinal);
        Assert.Contains("--security-opt seccomp=", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Enosys_is_seccomp_on_a_new_kernel_with_a_filter_and_else_the_kernel()
    {
        Assert.Contains("seccomp", Explain(Errno.NoSys, s_plain with { SeccompFiltered = true }),
            StringComparison.Ordinal);
        Assert.Contains("6.1 or newer", Explain(Errno.NoSys, s_plain with { Release = "4.19.0" }),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Enomem_tells_the_limit_and_how_to_raise_it()
    {
        var message = Explain(Errno.NoMem, s_plain);

        Assert.Contains("RLIMIT_MEMLOCK is 8388608", message, StringComparison.Ordinal);
        Assert.Contains("LimitMEMLOCK", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("5.15.0-91-generic")]
    [InlineData("6.0.19")]
    public void Einval_on_a_kernel_below_the_floor_names_the_kernel(string release)
    {
        var message = Explain(Errno.Inval, s_plain with { Release = release });

        Assert.Contains($"{release} is too old: Linux 6.1 or newer", message, StringComparison.Ordinal);
    }

    private static string Explain(int errno, RingSetupDiagnosis.Environment environment) =>
        RingSetupDiagnosis.Explain(errno, 4096, environment).Message;
}

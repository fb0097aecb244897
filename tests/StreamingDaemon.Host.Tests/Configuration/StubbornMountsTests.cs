using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class StubbornMountsTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("fuse", true)]
    [InlineData("fuse.sshfs", true)]
    [InlineData("fuseblk", true)]
    [InlineData("virtiofs", true)]
    [InlineData("9p", true)]
    [InlineData("autofs", true)]
    [InlineData("fusectl", false)]
    [InlineData("nfs4", false)]
    [InlineData("ext4", false)]
    public void File_system_is_known_by_the_type_of_its_mount(string type, bool isStubborn)
    {
        var mounts = StubbornMounts.Read(Line("/", "ext4") + Line("/mnt/a\\040b", type, "shared:1 master:2"));

        Assert.Equal(isStubborn, StubbornMounts.Hold("/mnt/a b/file", mounts));
        Assert.False(StubbornMounts.Hold("/mnt/a", mounts));
    }

    [Fact]
    public void Last_mount_at_a_point_hides_those_before_it()
    {
        var mounts = StubbornMounts.Read(Line("/x", "fuse") + Line("/y", "ext4") + Line("/x", "ext4") + Line("/y", "fuse")
            + Line("/y/inner", "tmpfs") + Line("/auto", "autofs") + Line("/auto", "nfs4"));

        Assert.False(StubbornMounts.Hold("/x/file", mounts));
        Assert.True(StubbornMounts.Hold("/y/file", mounts));
        Assert.True(StubbornMounts.Hold("/y", mounts));
        Assert.False(StubbornMounts.Hold("/auto/file", mounts));
    }

    [Theory]
    [InlineData("direct", true)]
    [InlineData("relative", true)]
    [InlineData("to-link", true)]
    [InlineData("directory/file", true)]
    [InlineData("directory/../mount/file", true)]
    [InlineData("plain/../relative", true)]
    [InlineData("./plain/.././direct", true)]
    [InlineData("plain", false)]
    [InlineData("loop", false)]
    [InlineData("missing/file", false)]
    public void Path_through_any_links_is_known_to_lead_to_a_stubborn_mount(string path, bool isStubborn)
    {
        var mount = _directory.File("mount");
        Directory.CreateDirectory(_directory.File("plain"));
        File.CreateSymbolicLink(_directory.File("direct"), mount + "/file");
        File.CreateSymbolicLink(_directory.File("relative"), "plain/../mount/file");
        File.CreateSymbolicLink(_directory.File("to-link"), "relative");
        File.CreateSymbolicLink(_directory.File("directory"), mount);
        File.CreateSymbolicLink(_directory.File("loop"), "loop");
        var mounts = new Dictionary<string, bool> { ["/"] = false, [mount] = true };

        Assert.Equal(isStubborn, StubbornMounts.Hold(_directory.File(path), mounts));
    }

    [Theory]
    [InlineData("/proc/self/fd", false)]
    [InlineData("/proc/thread-self/fd", false)]
    [InlineData("/dev/fd", false)]
    [InlineData("by-link", false)]
    [InlineData("/proc/PID/fd", true)]
    public void Path_that_means_another_file_in_a_child_is_not_for_a_child(string directory, bool isForChild)
    {
        Directory.CreateDirectory(_directory.File("mount"));
        File.CreateSymbolicLink(_directory.File("by-link"), "/dev/fd");
        using var file = File.Create(_directory.File("mount/file"));
        var mounts = new Dictionary<string, bool> { ["/"] = false, [_directory.File("mount")] = true };
        var path = Path.Combine(_directory.Path, directory.Replace("PID", $"{Environment.ProcessId}", StringComparison.Ordinal),
            $"{file.SafeFileHandle.DangerousGetHandle()}");

        Assert.Equal(isForChild, StubbornMounts.Hold(path, mounts));
    }

    private static string Line(string point, string type, string optional = "") =>
        $"36 35 98:0 / {point} rw,noatime {optional}{(optional.Length > 0 ? " " : "")}- {type} source rw\n";
}

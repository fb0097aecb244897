using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Runtime;

public sealed class CgroupMemoryTests : IDisposable
{
    private readonly TempDirectory _mounts = new();

    public void Dispose() => _mounts.Dispose();

    [Fact]
    public void Unit_of_version_2_has_its_use_without_inactive_files_and_the_lowest_limit()
    {
        Write("system.slice/memory.max", "1000000\n");
        Write("system.slice/daemon.service/memory.max", "max\n");
        Write("system.slice/daemon.service/memory.current", "5000\n");
        Write("system.slice/daemon.service/memory.stat", "anon 1\ninactive_file 2000\nactive_file 7\n");

        var memory = Find("0::/system.slice/daemon.service");

        Assert.Equal(3000, memory?.Used());
        Assert.Equal(1_000_000, memory?.Limit());
        Write("system.slice/daemon.service/memory.max", "6000\n");
        Assert.Equal(6000, memory?.Limit());
    }

    [Fact]
    public void Container_whose_path_is_the_hosts_has_what_is_mounted()
    {
        Write("memory.current", "5000\n");
        Write("memory.max", "max\n");

        var memory = Find("0::/docker/0123");

        Assert.Equal(5000, memory?.Used());
        Assert.Null(memory?.Limit());
    }

    [Fact]
    public void Memory_controller_of_version_1_comes_before_version_2()
    {
        Write("memory.current", "1\n");
        Write("memory/unit/memory.usage_in_bytes", "5000\n");
        Write("memory/unit/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n");
        Write("memory/unit/memory.limit_in_bytes", "9223372036854771712\n");

        var memory = Find("9:name=systemd:/", "4:hugetlb,memory:/unit", "0::/");

        Assert.Equal(3000, memory?.Used());
        Assert.Null(memory?.Limit());
        Write("memory/memory.limit_in_bytes", "7000\n");
        Assert.Equal(7000, memory?.Limit());
    }

    [Fact]
    public void Machine_without_a_cgroup_of_memory_has_no_numbers()
    {
        Assert.Null(Find("0::/"));
        Assert.Null(Find());
        Assert.Null(Find("nonsense"));
    }

    private CgroupMemory? Find(params string[] lines) => CgroupMemory.Find(lines, _mounts.Path);

    private void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_mounts.File(path))!);
        File.WriteAllText(_mounts.File(path), text);
    }
}

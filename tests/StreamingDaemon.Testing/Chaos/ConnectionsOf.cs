namespace StreamingDaemon.Testing.Chaos;

/// <summary>Counts a process's TCP connections that a pool keeps open.</summary>
public static class ConnectionsOf
{
    /// <summary>Connections with one of these ports at either end.</summary>
    public static int Count(int pid, params ReadOnlySpan<int> ports)
    {
        var ends = new HashSet<string>();
        foreach (var port in ports)
            ends.Add($"{port:X4}");
        return ((string[])["tcp", "tcp6"]).SelectMany(table => File.ReadLines($"/proc/{pid}/net/{table}").Skip(1))
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            // Columns: local address, remote address, state (01 is ESTABLISHED, 08 is CLOSE_WAIT).
            .Count(f => f[3] is "01" or "08" && (ends.Contains(f[1][^4..]) || ends.Contains(f[2][^4..])));
    }
}

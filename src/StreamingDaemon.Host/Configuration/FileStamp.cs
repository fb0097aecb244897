namespace StreamingDaemon.Host.Configuration;

/// <summary>What changes if a file is written, or if another one takes its place.</summary>
internal readonly record struct FileStamp(
    ulong Device, ulong Inode, ulong Size, Int128 Modified, Int128 Changed);

namespace StreamingDaemon.Host.Configuration;

/// <summary>Changes if a file is written, or if another file takes its place.</summary>
internal readonly record struct FileStamp(
    ulong Device, ulong Inode, ulong Size, Int128 Modified, Int128 Changed);

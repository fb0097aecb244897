namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>
/// What runs inside Redis, each as one command that nothing can come between (Redis manual, "Scripting with
/// Lua"). An answer has four keys of one hash slot: <c>lease</c> names the claim of the daemon that makes
/// the answer, or is <c>done</c> or <c>gone</c>; <c>events</c> is a stream; <c>stop</c> asks the owner to
/// stop; <c>read</c> is there while another daemon has readers.
/// </summary>
/// <remarks>An entry's id is the id of its last event, so the same entry written twice is written once. Each
/// entry names its owner: one that lost its lease can write nothing. The first write of a script is the one
/// that takes memory: Redis refuses it beyond its <c>maxmemory</c>, and refuses no later one.</remarks>
internal static class RedisScripts
{
    /// <summary>The lease of an answer that grew too long to be kept.</summary>
    public const string Gone = "gone";

    /// <summary>KEYS lease, events, stop, read; ARGV owner, lease ms, 1 if the owner had it already. 1 if
    /// claimed, 0 if another has it, 2 if it is no longer kept. Who has it may claim it again: Redis has lost
    /// its events. What was asked for meanwhile still holds.</summary>
    public const string Claim = """
        local lease = redis.call('get', KEYS[1])
        if lease == 'gone' then return 2 end
        if lease and lease ~= ARGV[1] then return 0 end
        redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
        redis.call('del', KEYS[2])
        if ARGV[3] ~= '1' then redis.call('del', KEYS[3], KEYS[4]) end
        return 1
        """;

    /// <summary>KEYS lease, events of an answer that is none: whatever the scripts need is tried, and
    /// nothing is left.</summary>
    public const string Probe = """
        redis.call('set', KEYS[1], '1', 'px', 1000)
        redis.call('del', KEYS[2])
        redis.call('xadd', KEYS[2], '1-0', 'o', '', 'e', '')
        redis.call('pexpire', KEYS[2], 1000)
        redis.call('xrange', KEYS[2], '-', '+', 'count', 1)
        redis.call('get', KEYS[1])
        redis.call('exists', KEYS[1])
        redis.call('del', KEYS[1], KEYS[2])
        return 1
        """;

    /// <summary>KEYS lease; ARGV owner.</summary>
    public const string Release = """
        if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end
        return 1
        """;

    /// <summary>KEYS lease, events; ARGV owner, ms. The name stays taken, without an answer.</summary>
    public const string GiveUp = """
        if redis.call('get', KEYS[1]) == ARGV[1] then
          redis.call('set', KEYS[1], 'gone', 'px', ARGV[2])
          redis.call('del', KEYS[2])
        end
        return 1
        """;

    /// <summary>KEYS lease, events, stop, read; ARGV owner, lease ms, events' ms, entry id or empty, bytes,
    /// and the last event that was written before. 0 if another daemon has the lease; 8 if nobody has, or
    /// that event is gone: evicted, or lost in a failover. Else 1, and 2 more if the answer is to stop, and 4
    /// more if another daemon has readers.</summary>
    public const string Append = """
        local lease = redis.call('get', KEYS[1])
        if not lease then return 8 end
        if lease ~= ARGV[1] then return 0 end
        if ARGV[6] ~= '0' and not redis.call('xrange', KEYS[2], ARGV[6], '+', 'count', 1)[1] then
          return 8
        end
        if ARGV[4] ~= '' then
          local r = redis.pcall('xadd', KEYS[2], ARGV[4], 'o', ARGV[1], 'e', ARGV[5])
          if type(r) == 'table' and r.err and not string.find(r.err, 'equal or smaller') then return r end
        end
        redis.call('pexpire', KEYS[1], ARGV[2])
        redis.call('pexpire', KEYS[2], ARGV[3])
        return 1 + 2 * redis.call('exists', KEYS[3]) + 4 * redis.call('exists', KEYS[4])
        """;

    /// <summary>KEYS lease, events, stop, read; ARGV owner, ms to keep, id of the end's entry, the end as
    /// JSON, the only event of an answer that failed with nothing to show (the name is free then), entry id
    /// and bytes of the last events or empty, and the last event that was written before. Events and end are
    /// one step: a daemon that dies leaves both or none. 0 if another daemon has the lease; 8 as above.
    /// </summary>
    public const string End = """
        local lease = redis.call('get', KEYS[1])
        if lease ~= ARGV[1] then
          if lease == 'done' then return 1 end
          return lease and 0 or 8
        end
        if ARGV[8] ~= '0' and not redis.call('xrange', KEYS[2], ARGV[8], '+', 'count', 1)[1] then
          return 8
        end
        local function add(...)
          local r = redis.pcall('xadd', KEYS[2], ...)
          if type(r) == 'table' and r.err and not string.find(r.err, 'equal or smaller') then return r end
        end
        local failed = ARGV[6] ~= '' and add(ARGV[6], 'o', ARGV[1], 'e', ARGV[7])
          or add(ARGV[3], 'o', ARGV[1], 'e', ARGV[5], 'end', ARGV[4])
        if failed then return failed end
        redis.call('pexpire', KEYS[2], ARGV[2])
        redis.call('del', KEYS[3], KEYS[4])
        if string.find(ARGV[4], '"outcome":"Stopped"', 1, true) then
          redis.call('set', KEYS[3], 'done', 'px', ARGV[2])
        end
        if ARGV[5] ~= '' then
          redis.call('del', KEYS[1])
        else
          redis.call('set', KEYS[1], 'done', 'px', ARGV[2])
        end
        return 1
        """;

    /// <summary>KEYS lease, events, read; ARGV first entry id, most entries, and for how many ms this daemon
    /// says that it has readers, or 0. The lease or false, and entries.</summary>
    public const string Read = """
        if ARGV[3] ~= '0' then redis.pcall('set', KEYS[3], '1', 'px', ARGV[3]) end
        return {redis.call('get', KEYS[1]), redis.call('xrange', KEYS[2], ARGV[1], '+', 'count', ARGV[2])}
        """;

    /// <summary>KEYS lease, events, stop. -1 if there is no answer, 0 if it has ended by itself, 2 because it
    /// was stopped (what is in stop then says so, after the end), 1 if it is running, and is to stop.
    /// If only its lease is missing, its owner is dead, or is about to claim it again.</summary>
    public const string Stop = """
        local lease = redis.call('get', KEYS[1])
        if lease == 'gone' or not lease and redis.call('exists', KEYS[2]) == 0 then return -1 end
        if lease == 'done' then return redis.call('get', KEYS[3]) == 'done' and 2 or 0 end
        redis.call('set', KEYS[3], '1', 'px', 60000)
        return 1
        """;
}

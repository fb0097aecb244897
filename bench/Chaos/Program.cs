using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Chaos;

// Random faults on both sides of one daemon, of its operator and of a hostile peer; see bench/README.md.
//   chaos [--seconds N | --streams N] [--at-once N] [--rings N] [--seed N]
// Or deliveries alone, to PHP and SQLite, with a receiver that comes and goes and a daemon that is killed:
//   chaos --deliveries N [--kills N]
// Or kept answers: readers that leave and read on, joins, stops, a receiver of deliveries with faults. With
// --redis two daemons share the answers, and Redis and one of them fail now and then:
//   chaos --answers [--redis] [--seconds N] [--at-once N] [--seed N]
// Or a peer that holds the locks of N sockets, and what 200 others notice. Needs root:
//   chaos --held N [--readers N]
// Or a peer that hands over N sockets from M network namespaces; each packet costs X microseconds of CPU. Needs root:
//   chaos --costly N [--cost-us X] [--networks M] [--readers N]
long Option(string name, long otherwise) => Array.IndexOf(args, name) is >= 0 and var at && at + 1 < args.Length
    ? long.Parse(args[at + 1], CultureInfo.InvariantCulture) : otherwise;

if (Option("--deliveries", 0) is > 0 and var answers)
    return await DeliveriesAsync((int)answers, (int)Option("--kills", 10));

if (Option("--held", 0) is > 0 and var held)
    return await HeldChaos.RunAsync((int)held, (int)Option("--readers", 200));

if (Option("--costly", 0) is > 0 and var costly)
{
    return await CostlyChaos.RunAsync((int)costly, Option("--cost-us", 20_000) / 1e3, (int)Option("--networks", 1),
        (int)Option("--readers", 200));
}

if (args.Contains("--answers"))
{
    return await KeptChaos.RunAsync(args.Contains("--redis"), TimeSpan.FromSeconds(Option("--seconds", 600)),
        (int)Option("--at-once", 100), (int)Option("--seed", Environment.TickCount));
}

var streams = Option("--streams", 0);
var limit = TimeSpan.FromSeconds(streams > 0 ? 3_600 : Option("--seconds", 600));
var atOnce = (int)Option("--at-once", 1_000);
var seed = (int)Option("--seed", Environment.TickCount);

await using var run = await ChaosRun.StartAsync(
    maxConnections: Math.Max(1, atOnce * 8 / 10), rings: (int)Option("--rings", 1));
var watch = Stopwatch.StartNew();
var memory = new List<long>();
Console.WriteLine($"seed {seed}, {atOnce} at a time, daemon {run.Daemon.Pid}, sockets at rest {run.SocketsAtRest}");
Console.WriteLine("   seconds   handoffs      rss KB    sockets");
using var ticker = new Timer(_ => Print(), null, TimeSpan.Zero, TimeSpan.FromSeconds(10));
await run.PlayAsync(atOnce, seed, handoffs => (streams == 0 || handoffs < streams) && watch.Elapsed < limit);
var outcomes = await run.SettleAsync();
await ticker.DisposeAsync();
Print();

Console.WriteLine("\nclients");
foreach (var (fate, count) in run.Fates)
    Console.WriteLine($"  {fate,-24}{count,10}");
Console.WriteLine($"\noperator, {run.Operator.Refusals} reloads refused");
foreach (var (act, count) in run.Operator.Acts.OrderBy(a => a.Key, StringComparer.Ordinal))
    Console.WriteLine($"  {act,-24}{count,10}");
Console.WriteLine("\nhostile peer");
foreach (var (act, count) in run.Peer.Acts.OrderBy(a => a.Key, StringComparer.Ordinal))
    Console.WriteLine($"  {act,-24}{count,10}");
Console.WriteLine("\noutcomes");
foreach (var (outcome, count) in outcomes.OrderBy(o => o.Key, StringComparer.Ordinal))
    Console.WriteLine($"  {outcome,-34}{count,10}");
var sum = outcomes.Values.Sum();
var sockets = run.Daemon.OpenSockets() - run.KeptConnections();
Console.WriteLine($"\nhandoffs {run.Handoffs}, outcomes {sum}; sockets {sockets}, at rest {run.SocketsAtRest}; "
    + $"complaints {run.Complaints.Values.Sum()}");
foreach (var (complaint, count) in run.Complaints.OrderByDescending(c => c.Value).Take(40))
    Console.WriteLine($"  {count,6}  {complaint}");
if (run.Daemon.LogLines("handoff dropped: CheckTimedOut") is [var check, ..])
    Console.WriteLine($"a client's socket was given up in its check: {check}");
if (run.Daemon.LogLines("\"@l\":\"Error\"").FirstOrDefault(l => !ChaosOperator.IsOfMaking(l)) is { } error)
    Console.WriteLine($"the daemon's first error: {error}");
var growth = MemoryCurve.Judge(memory);
if (growth is not null)
    Console.WriteLine(growth);
else if (memory.Count < MemoryCurve.FewestSamples)
    Console.WriteLine("too short to tell whether resident memory is flat");
return sum == run.Handoffs && sockets <= run.SocketsAtRest && run.Complaints.Count == 0 && growth is null ? 0 : 1;

static async Task<int> DeliveriesAsync(int answers, int kills)
{
    var took = Stopwatch.StartNew();
    await using var proof = new DeliveryProof();
    var result = await proof.RunAsync(answers, kills, TimeSpan.FromMinutes(5));
    Console.WriteLine($"read to [DONE] {result.Done}, missing {result.Missing}, repeated {result.Repeated}, "
        + $"out of order {result.Disordered}, rows {result.Rows}");
    Console.WriteLine($"daemon killed {result.Kills} times, receiver {result.Outages} times; {result.Left} wait; "
        + $"{took.Elapsed.TotalSeconds:0} s");
    return result is { Missing: 0, Repeated: 0, Disordered: 0, Left: 0 } && result.Done >= answers ? 0 : 1;
}

void Print()
{
    var sample = run.Sample(watch.Elapsed);
    lock (memory)
        memory.Add(sample.ResidentKb);
    Console.WriteLine($"{sample.Elapsed.TotalSeconds,10:0}{sample.Handoffs,11}{sample.ResidentKb,12}{sample.Sockets,11}");
}

<?php
// Visitors who all come within one second and read their answers, and somebody who asks for a static page every 100 ms
// while they read.
//   php visitors.php PORT PATH VISITORS
// Prints five numbers: milliseconds to the first word (median, worst), milliseconds for the static page (median,
// worst), answers that were not whole. Times count from the moment a request was due.
declare(strict_types=1);

const ARRIVE_WITHIN_S = 1.0;
const PAGES = 40;
const PAGE_EVERY_S = 0.1;
const GIVE_UP_AFTER_S = 60.0;
const PAGE = '/chat/index.html';

[, $port, $path, $visitors] = $argv;
$body = '{"prompt":"hello"}';
$ask = "POST $path HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
    . strlen($body) . "\r\nConnection: close\r\n\r\n$body";
$get = 'GET ' . PAGE . " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

$begin = microtime(true) + 0.1;
$due = [];
for ($i = 0; $i < $visitors; $i++) {
    $due[] = [$begin + ARRIVE_WITHIN_S * $i / $visitors, true];
}
for ($i = 0; $i < PAGES; $i++) {
    $due[] = [$begin + ARRIVE_WITHIN_S + PAGE_EVERY_S * $i, false];
}
sort($due);

$open = [];
$started = [];
$tail = [];
$reads = [];
$firstMs = [];
$pageMs = [];
$notWhole = 0;
$next = 0;
while ($next < count($due) || $open !== []) {
    $now = microtime(true);
    if ($now > $begin + GIVE_UP_AFTER_S) {
        fwrite(STDERR, count($open) . " connections are still open after " . GIVE_UP_AFTER_S . " s\n");
        exit(1);
    }
    while ($next < count($due) && $due[$next][0] <= $now) {
        [$at, $isVisitor] = $due[$next++];
        $socket = stream_socket_client("tcp://127.0.0.1:$port", $code, $message, 5);
        if ($socket === false) {
            fwrite(STDERR, "connect: $message\n");
            exit(1);
        }
        stream_set_blocking($socket, false);
        fwrite($socket, $isVisitor ? $ask : $get);
        $id = (int)$socket;
        $open[$id] = $socket;
        $started[$id] = [$at, $isVisitor];
        $tail[$id] = '';
    }
    $wait = $next < count($due) ? max(0.0, $due[$next][0] - microtime(true)) : 1.0;
    if ($open === []) {
        usleep((int)($wait * 1e6));
        continue;
    }
    $ready = $open;
    $none = null;
    stream_select($ready, $none, $none, (int)$wait, (int)(fmod($wait, 1.0) * 1e6));
    foreach ($ready as $id => $socket) {
        $bytes = (string)fread($socket, 65536);
        [$at, $isVisitor] = $started[$id];
        $elapsedMs = (microtime(true) - $at) * 1000;
        $tail[$id] = substr($tail[$id] . $bytes, -65536);
        if ($isVisitor && !isset($reads[$id]) && str_contains($tail[$id], 'data: {"content"')) {
            $reads[$id] = true;
            $firstMs[] = $elapsedMs;
        }
        if (!feof($socket)) {
            continue;
        }
        if ($isVisitor) {
            $notWhole += str_contains($tail[$id], "data: [DONE]\n") ? 0 : 1;
        } else {
            $notWhole += str_contains($tail[$id], '</html>') ? 0 : 1;
            $pageMs[] = $elapsedMs;
        }
        fclose($socket);
        unset($open[$id], $started[$id], $tail[$id], $reads[$id]);
    }
}

function median(array $values): float
{
    sort($values);
    return $values[intdiv(count($values), 2)];
}

printf("%.1f %.1f %.1f %.1f %d\n", median($firstMs), max($firstMs), median($pageMs), max($pageMs), $notWhole);

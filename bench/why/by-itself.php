<?php
// A site without the daemon: PHP streams the answer, and its worker is busy until the end. The same 18 events and
// pauses as the daemon's mock; a real model would be read from here.
declare(strict_types=1);

$delayMs = (int)getenv('DELAY_MS');
header('Content-Type: text/event-stream');
header('Cache-Control: no-store');
while (ob_get_level() > 0) {
    ob_end_flush();
}
for ($n = 0; $n < 18; $n++) {
    if ($n > 0) {
        usleep($delayMs * 1000);
    }
    echo 'data: ', json_encode(['content' => "word $n "]), "\n\n";
    flush();
}
echo "data: [DONE]\n\n";

<?php
// What a site does with the library; the test says what happens around it.
declare(strict_types=1);

require __DIR__ . '/../php/autoload.php';

use StreamingDaemon\{Handoff, HandoffException};

$case = $_GET['case'] ?? '';
ini_set('display_errors', $_GET['display_errors'] ?? '0');
if ($case === 'sent') {
    echo 'too early';
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    flush();
}
if ($case === 'session') {
    session_save_path(dirname(__DIR__) . '/sessions');
    session_start();
    $_SESSION['asked'] = true;
}
if ($case === 'handled') {
    set_exception_handler(static function (Throwable $error): void {
        echo 'handled: ', $error->getMessage();
    });
}
if ($case === 'replaced') {
    set_exception_handler(static function (Throwable $error): void {
        http_response_code(409);
        echo 'handled: ', $error->getMessage();
    });
}
if ($case === 'destructor') {
    $last = new class () {
        public function __destruct()
        {
            throw new RuntimeException('after respond()');
        }
    };
}
$handoff = Handoff::to($_GET['socket'])->user('7')->model('m')
    ->conversation([['role' => 'user', 'content' => str_repeat('日本 ', (int) ($_GET['length'] ?? 1))]]);
if ($case === 'unsent') {
    // As in a framework, which then answers something else.
    $handoff->headers();
    $files = static fn (): int => count(glob(dirname(__DIR__) . '/data/*'));
    $before = $files();
    Handoff::takeBack();
    exit("$before, then {$files()}");
}
if (isset($_GET['upstream'])) {
    $handoff->responseHeader('X-From', 'fallback')->fallback($_GET['upstream'], 'a-key');
}
try {
    $handoff->respond();
} catch (HandoffException $error) {
    exit(get_class($error) . ': ' . $error->getMessage());
}
if ($case === 'twice') {
    // What a site that asks again means is the second question alone.
    Handoff::to($_GET['socket'])->user('7')->prompt('second')->respond();
}
echo 'printed afterwards';
if (isset($_GET['files'])) {
    file_put_contents(dirname(__DIR__) . '/sessions/files', (string) count(glob(dirname(__DIR__) . '/data/*')));
}
if ($case === 'session') {
    file_put_contents(dirname(__DIR__) . '/sessions/status', (string) session_status());
}
if ($case === 'shutdown') {
    register_shutdown_function(static fn () => throw new RuntimeException('after respond()'));
}
if (in_array($case, ['exception', 'handled', 'replaced'], true)) {
    throw new RuntimeException('after respond()');
}
if ($case === 'status') {
    http_response_code(422);
    echo ', and refused';
}
if ($case === 'back') {
    Handoff::takeBack(409);
    echo ' by the application';
}

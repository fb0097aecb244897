<?php
// Goes on after it has asked for a handoff: the test sees when the daemon has the client, and what runs afterwards.
$sign = static fn (string $name) => dirname(__DIR__) . '/sessions/' . $name;
ignore_user_abort(isset($_GET['ignore']));
register_shutdown_function(static fn () => file_put_contents($sign('shutdown'), (string) connection_aborted()));
header('X-Socket-Handoff: ' . $_GET['socket']);
header('X-Handoff-Data: {"prompt":"hello"}');
while (ob_get_level() > 0) {
    ob_end_flush();
}
echo 'body';
if ($_GET['when'] === 'flush') {
    flush();
}
if ($_GET['when'] === 'finish') {
    fastcgi_finish_request();
}
file_put_contents($sign('running'), '');
for ($i = 0; $i < 1000 && !file_exists($sign('go')); $i++) {
    usleep(10000);
}
file_put_contents($sign('after'), '');

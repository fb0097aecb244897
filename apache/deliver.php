<?php
// Where the daemon delivers finished answers ([delivery] url): checks the signature, and writes each answer to
// SQLite once, however often it comes. docs/delivery.md says what is in it.
//
//   DELIVERY_SECRET_FILE   the file that delivery.secret_file names; readable for PHP's user too
//   DELIVERY_DATABASE      the database; its directory must be writable for PHP's user
//
// What it answers decides: 2xx is done, 4xx is never sent again, anything else comes again later.
declare(strict_types=1);

require __DIR__ . '/php/autoload.php';

use StreamingDaemon\{Delivery, InvalidDelivery, StaleDelivery};

const DEFAULT_SECRET_FILE = '/etc/streaming-daemon/delivery-secret';
const DEFAULT_DATABASE = '/var/lib/chat/chat.sqlite';

// delivery.max_bytes is 16 MiB of text; JSON escapes some of it.
const MAX_BODY_BYTES = 64 << 20;

function answer(int $status, string $why = ''): never
{
    if ($why !== '') {
        error_log("deliver.php: $why");
    }
    http_response_code($status);
    exit;
}

/**
 * The signing secrets, a line each. Without one nothing can be judged: the daemon is to come again.
 *
 * @return list<string>
 */
function secrets(): array
{
    $file = getenv('DELIVERY_SECRET_FILE') ?: DEFAULT_SECRET_FILE;
    $secrets = preg_split('/\s+/', (string) @file_get_contents($file), -1, PREG_SPLIT_NO_EMPTY);
    return $secrets ?: answer(500, "$file cannot be read, or is empty");
}

function database(): PDO
{
    $database = new PDO('sqlite:' . (getenv('DELIVERY_DATABASE') ?: DEFAULT_DATABASE));
    $database->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
    $database->exec('PRAGMA busy_timeout = 5000');
    // Readers do not wait for this writer. A commit is on the disk when it returns: the daemon deletes its file then.
    $database->exec('PRAGMA journal_mode = WAL');
    $database->exec('PRAGMA synchronous = FULL');
    $database->exec('CREATE TABLE IF NOT EXISTS answers (
        id TEXT PRIMARY KEY,
        request_id TEXT NOT NULL,
        user_id TEXT,
        conversation TEXT,
        ended_at TEXT NOT NULL,
        outcome TEXT NOT NULL,
        content TEXT NOT NULL,
        body TEXT NOT NULL
    )');
    $database->exec('CREATE INDEX IF NOT EXISTS answers_of_conversation ON answers (user_id, conversation, ended_at)');
    return $database;
}

/** The site's own id for the conversation: what it put into the handoff's "delivery". */
function conversation(array $answer): ?string
{
    $id = $answer['delivery']['conversation'] ?? null;
    return is_string($id) || is_int($id) ? (string) $id : null;
}

function store(array $answer, string $body): void
{
    // A repeat has the same id: it changes nothing.
    database()->prepare('INSERT INTO answers (id, request_id, user_id, conversation, ended_at, outcome, content, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING')->execute([
        $answer['id'],
        $answer['request_id'],
        isset($answer['user_id']) ? (string) $answer['user_id'] : null,
        conversation($answer),
        $answer['timings']['ended_at'],
        $answer['outcome'],
        $answer['content'],
        $body,
    ]);
}

if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST') {
    header('Allow: POST');
    answer(405);
}
$body = file_get_contents('php://input', length: MAX_BODY_BYTES + 1);
if ($body === false || strlen($body) > MAX_BODY_BYTES) {
    answer(413, 'a delivery is too long');
}
$secrets = secrets();
try {
    Delivery::verify($body, $_SERVER, $secrets);
} catch (StaleDelivery $e) {
    // The daemon signs it anew each time: it arrives once both clocks are right.
    answer(503, $e->getMessage());
} catch (InvalidDelivery $e) {
    answer(401, $e->getMessage());
} catch (InvalidArgumentException $e) {
    answer(500, $e->getMessage());
}
$answer = json_decode($body, true, flags: JSON_BIGINT_AS_STRING);
if (!is_array($answer) || !is_string($answer['id'] ?? null) || !is_string($answer['content'] ?? null)) {
    answer(400, 'a delivery is signed, and is not an answer');
}
try {
    store($answer, $body);
} catch (PDOException $e) {
    answer(503, $e->getMessage());
}
answer(204);

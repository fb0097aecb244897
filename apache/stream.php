<?php
// The endpoint behind the chat page: says who may ask and what is asked, and ends. The module
// takes the headers, the daemon answers the browser.
//
//   POST {"prompt": "...", "messages": [{"role": "user", "content": "..."}, ...]}   as JSON or a form
//
// In JSON, "events": ["reasoning", "finish", "usage"] asks for these events beside the text.
//
// An answer that outlives its reader (docs/answers.md), for this user only:
//
//   POST {..., "keep": true, "request_id": "an id that nobody guesses"}   keeps it; repeated, it joins the answer
//   GET ?resume=ID                                  reads on after the event of the header Last-Event-ID
//   POST {"stop": "ID"}, or DELETE ?resume=ID       ends it for all its readers
declare(strict_types=1);

const DEFAULT_SOCKET = '/run/streaming-daemon/streaming-daemon.sock';

// The daemon's streaming.max_handoff_bytes.
const MAX_HANDOFF_BYTES = 8 * 1024 * 1024;

// The body may escape what the handoff does not. PHP's post_max_size and memory_limit bound it too.
const MAX_BODY_BYTES = 2 * MAX_HANDOFF_BYTES;

// What is longer goes in a file, if the module has a directory for it.
const LONG_HANDOFF_BYTES = 212960;

// mod_proxy_fcgi (php-fpm) answers 500 to a response header line of more than 8189 bytes, name included.
const MAX_LINE_BYTES = 8000;

// In the daemon's log, in errors, and passed on to the model's server.
define('REQUEST_ID', bin2hex(random_bytes(8)));

/**
 * Who asks. REPLACE THIS with the site's own session check: return the user's id, or null to refuse.
 * As it is, everybody who reaches the server may chat.
 */
function authenticated_user(): ?int
{
    return 0;
}

/** In the shape of the daemon's own errors: docs/errors.md. */
function refuse(int $status, string $code, string $message): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    if ($status === 405) {
        header('Allow: ' . (isset($_GET['resume']) ? 'GET, POST, DELETE' : 'POST'));
    }
    echo json_encode(['error' => ['code' => $code, 'message' => $message, 'request_id' => REQUEST_ID]]), "\n";
    exit;
}

/** The request's fields: a JSON document, else a form. */
function read_fields(): array
{
    if (stripos($_SERVER['CONTENT_TYPE'] ?? '', 'application/json') !== 0) {
        return $_POST;
    }
    $body = file_get_contents('php://input', length: MAX_BODY_BYTES + 1);
    if ($body === false || strlen($body) > MAX_BODY_BYTES) {
        refuse(413, 'conversation_too_long', 'The conversation is too long.');
    }
    $fields = json_decode($body, true, 16);
    return is_array($fields) ? $fields : refuse(400, 'bad_request', 'The body is not a JSON object.');
}

/** Only what the daemon knows, only in the shape that it knows. */
function read_messages(mixed $messages): array
{
    if (is_string($messages)) {
        $messages = json_decode($messages, true, 8);
    }
    $known = [];
    foreach (is_array($messages) ? $messages : [] as $message) {
        $role = $message['role'] ?? null;
        $content = $message['content'] ?? null;
        if (!in_array($role, ['system', 'user', 'assistant'], true) || !is_string($content)) {
            refuse(400, 'bad_request', 'A message needs a role (system, user, assistant) and a content.');
        }
        $known[] = ['role' => $role, 'content' => $content];
    }
    return $known;
}

/** Control characters are escaped, and nothing else, or the limit is met six times as soon. */
function encode_handoff(array $handoff): string
{
    $json = json_encode($handoff, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
    return is_string($json) ? $json : refuse(400, 'bad_request', 'The text is not valid UTF-8.');
}

/** A file that the module reads and removes (SocketHandoffDataPrefix). Null if there is no directory for it. */
function handoff_file(string $json): ?string
{
    $directory = $_SERVER['SOCKET_HANDOFF_DATA'] ?? '';
    if ($directory === '') {
        return null;
    }
    $file = rtrim($directory, '/') . '/' . bin2hex(random_bytes(16)) . '.json';
    if (@file_put_contents($file, $json) === strlen($json) && chmod($file, 0640)) {
        return $file;
    }
    error_log("stream.php: cannot write $file; the handoff goes in headers");
    @unlink($file);
    return null;
}

/** The headers that hold the handoff, without their common beginning X-Handoff-Data. */
function handoff_headers(string $json): array
{
    $file = strlen($json) > LONG_HANDOFF_BYTES ? handoff_file($json) : null;
    if ($file !== null) {
        return ['-File' => $file];
    }
    // A header's value loses the spaces at its ends. All spaces here are inside JSON strings, where \u0020 is the same.
    $parts = preg_replace('/^ | $/D', '\u0020', str_split($json, MAX_LINE_BYTES));
    if (count($parts) === 1) {
        return ['' => $parts[0]];
    }
    return array_combine(array_map(static fn (int $number): string => "-$number", range(1, count($parts))), $parts);
}

/** Short, and safe in headers, logs and addresses. */
function read_id(mixed $id): string
{
    return is_string($id) && preg_match('/^[A-Za-z0-9._-]{1,64}$/D', $id) === 1 ? $id
        : refuse(400, 'bad_request', 'An id has 1 to 64 letters, digits, dots, dashes and underscores.');
}

/** The event that the browser has read last: an EventSource says it in a header when it reconnects. */
function last_event(): array
{
    $last = trim((string) ($_SERVER['HTTP_LAST_EVENT_ID'] ?? ''));
    if ($last === '') {
        return [];
    }
    return preg_match('/^\d{1,9}$/D', $last) === 1 ? ['last_event_id' => (int) $last]
        : refuse(400, 'bad_request', 'Last-Event-ID is not a number.');
}

/** The request's W3C trace context. The daemon writes it into its log. */
function trace_context(): array
{
    $parent = $_SERVER['HTTP_TRACEPARENT'] ?? '';
    return preg_match('/^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/D', $parent) === 1 ? ['traceparent' => $parent] : [];
}

/** A new question. */
function read_question(array $fields): array
{
    $prompt = is_string($fields['prompt'] ?? null) ? trim($fields['prompt']) : '';
    $messages = read_messages($fields['messages'] ?? null);
    if ($prompt === '' && $messages === []) {
        refuse(400, 'no_prompt', 'Say something.');
    }
    // The daemon prefers the messages, so the prompt becomes the last of them, unless it already is.
    if ($prompt !== '' && $messages !== [] && end($messages) !== ['role' => 'user', 'content' => $prompt]) {
        $messages[] = ['role' => 'user', 'content' => $prompt];
    }
    $question = ['request_id' => REQUEST_ID];
    if (in_array($fields['keep'] ?? null, [true, 'true', '1'], true)) {
        // The page's own id: a repeated POST finds the answer that the first one has begun.
        $question = ['request_id' => read_id($fields['request_id'] ?? REQUEST_ID), 'keep' => true];
    }
    // The format that the page reads, whatever streaming.format says.
    $question['format'] = 'text';
    if (is_array($fields['events'] ?? null)) {
        $question['events'] = array_values(array_filter(
            ['reasoning', 'finish', 'usage'],
            static fn (string $event): bool => in_array($event, $fields['events'], true),
        ));
    }
    return $question + ($messages === [] ? ['prompt' => $prompt] : ['messages' => $messages]);
}

$method = $_SERVER['REQUEST_METHOD'];
if ($method !== 'POST' && !(isset($_GET['resume']) && in_array($method, ['GET', 'DELETE'], true))) {
    refuse(405, 'method_not_allowed', 'Ask with POST.');
}
$user = authenticated_user();
if ($user === null) {
    refuse(403, 'not_signed_in', 'Please sign in.');
}
$fields = $method === 'POST' ? read_fields() : [];
$handoff = ['user_id' => $user] + trace_context() + match (true) {
    $method === 'GET' => ['resume' => read_id($_GET['resume'])] + last_event(),
    $method === 'DELETE' => ['stop' => read_id($_GET['resume'])],
    isset($fields['stop']) => ['stop' => read_id($fields['stop'])],
    default => read_question($fields),
};

$json = encode_handoff($handoff);
if (strlen($json) > MAX_HANDOFF_BYTES) {
    refuse(413, 'conversation_too_long', 'The conversation is too long.');
}
// The module says that it is on for this request. Without it the whole prompt would go to the browser, as a header.
if (($_SERVER['SOCKET_HANDOFF'] ?? '') !== '1') {
    error_log('stream.php: mod_socket_handoff is not on for this request, or its connection is HTTP/2, or TLS that the kernel cannot do');
    refuse(503, 'handoff_unavailable', 'The chat is not available.');
}
foreach (handoff_headers($json) as $name => $value) {
    header("X-Handoff-Data$name: $value");
}
header('X-Socket-Handoff: ' . (getenv('HANDOFF_SOCKET') ?: DEFAULT_SOCKET));

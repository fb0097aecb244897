<?php
// An endpoint for clients of the chat completions API. This file's address is their base URL:
//
//   new OpenAI({ baseURL: "https://example.org/chat/openai.php", apiKey: "the site's own, or any" })
//
// It streams only. The daemon answers in its format "openai": each chunk of the model's server as it is, so that
// tool calls, refusals and logprobs arrive.
declare(strict_types=1);

define('REQUEST_ID', bin2hex(random_bytes(8)));

const DEFAULT_SOCKET = '/run/streaming-daemon/streaming-daemon.sock';

// What a handoff, one that is a message, and a line of it may hold: see stream.php.
const MAX_HANDOFF_BYTES = 8 * 1024 * 1024;
const MAX_BODY_BYTES = 2 * MAX_HANDOFF_BYTES;
const LONG_HANDOFF_BYTES = 212960;
const MAX_LINE_BYTES = 8000;

// Models that a client may choose. If there are none, the daemon's own model answers, whatever a client names.
const MODELS = [];

// What else a client may choose. The site pays for it.
const PARAMETERS = [
    'messages', 'tools', 'tool_choice', 'parallel_tool_calls', 'response_format', 'stream_options', 'stop', 'seed',
    'temperature', 'top_p', 'frequency_penalty', 'presence_penalty', 'logprobs', 'top_logprobs', 'reasoning_effort',
    'max_tokens', 'max_completion_tokens',
];

/**
 * Who asks. REPLACE THIS with the site's own check, of the session or of the key in the header Authorization:
 * return the user's id, or null to refuse. As it is, everybody who reaches the server may ask.
 */
function authenticated_user(): ?int
{
    return 0;
}

/** The API's error object, as the daemon writes it in this format. */
function refuse(int $status, string $code, string $message): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    if ($status === 405) {
        header('Allow: POST');
    }
    echo json_encode(['error' => [
        'message' => $message, 'type' => 'invalid_request_error', 'param' => null, 'code' => $code,
        'request_id' => REQUEST_ID,
    ]]), "\n";
    exit;
}

/** The request. Objects stay objects: an empty one is {} and not []. */
function read_request(): stdClass
{
    $body = file_get_contents('php://input', length: MAX_BODY_BYTES + 1);
    if ($body === false || strlen($body) > MAX_BODY_BYTES) {
        refuse(413, 'conversation_too_long', 'The conversation is too long.');
    }
    $request = json_decode($body, false, 64);
    return $request instanceof stdClass ? $request : refuse(400, 'bad_request', 'The body is not a JSON object.');
}

/** The request's W3C trace context. The daemon writes it into its log. */
function trace_context(): array
{
    $parent = $_SERVER['HTTP_TRACEPARENT'] ?? '';
    return preg_match('/^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/D', $parent) === 1 ? ['traceparent' => $parent] : [];
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
    error_log("openai.php: cannot write $file; the handoff goes in headers");
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

if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    refuse(405, 'method_not_allowed', 'Ask with POST.');
}
if (($_SERVER['PATH_INFO'] ?? '') !== '/chat/completions') {
    refuse(404, 'not_found', 'There is only /chat/completions here.');
}
$user = authenticated_user();
if ($user === null) {
    refuse(401, 'not_signed_in', 'Please sign in.');
}
$request = read_request();
if (($request->stream ?? false) !== true) {
    refuse(400, 'bad_request', 'This endpoint only streams: set "stream" to true.');
}
if (!is_array($request->messages ?? null) || $request->messages === []) {
    refuse(400, 'no_prompt', 'There are no messages.');
}

$handoff = ['format' => 'openai', 'user_id' => $user, 'request_id' => REQUEST_ID] + trace_context();
if (MODELS !== []) {
    in_array($request->model ?? null, MODELS, true) || refuse(404, 'model_not_found', 'There is no such model.');
    $handoff['model'] = $request->model;
}
foreach (PARAMETERS as $name) {
    if (isset($request->$name)) {
        $handoff[$name] = $request->$name;
    }
}

$flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION;
$json = json_encode($handoff, $flags);
if (!is_string($json) || strlen($json) > MAX_HANDOFF_BYTES) {
    refuse(413, 'conversation_too_long', 'The conversation is too long.');
}
// The module says that it is on for this request. Without it the whole prompt would go to the browser, as a header.
if (($_SERVER['SOCKET_HANDOFF'] ?? '') !== '1') {
    error_log('openai.php: mod_socket_handoff is not on for this request, or its connection is HTTP/2, or TLS that the kernel cannot do');
    refuse(503, 'handoff_unavailable', 'The chat is not available.');
}
foreach (handoff_headers($json) as $name => $value) {
    header("X-Handoff-Data$name: $value");
}
header('X-Socket-Handoff: ' . (getenv('HANDOFF_SOCKET') ?: DEFAULT_SOCKET));

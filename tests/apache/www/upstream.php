<?php
// A model's server, as small as can be.
$request = json_decode(file_get_contents('php://input'), true);
if (($_SERVER['HTTP_AUTHORIZATION'] ?? 'Bearer a-key') !== 'Bearer a-key' || $request['stream'] !== true) {
    http_response_code(401);
    exit;
}
header('Content-Type: text/event-stream');
foreach (['Hel', 'lo ', $request['messages'][0]['content']] as $text) {
    echo 'data: ', json_encode(['choices' => [['delta' => ['content' => $text]]]]), "\r\n\r\n";
}
echo "data: [DONE]\n\n";

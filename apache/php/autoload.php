<?php
// For sites without Composer: require this file.
declare(strict_types=1);

require_once __DIR__ . '/src/exceptions.php';
require_once __DIR__ . '/src/Delivery.php';
require_once __DIR__ . '/src/Values.php';
require_once __DIR__ . '/src/CurlStream.php';
require_once __DIR__ . '/src/Handoff.php';

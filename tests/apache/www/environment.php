<?php
echo 'server=', $_SERVER['SOCKET_HANDOFF'] ?? 'none', ' getenv=', getenv('SOCKET_HANDOFF') ?: 'none';

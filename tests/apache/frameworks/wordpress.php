<?php
// A WordPress with the plugin of docs/php.md (in mu-plugins). From the command line it installs itself.
declare(strict_types=1);

error_reporting(E_ALL & ~E_DEPRECATED & ~E_USER_DEPRECATED);
const SITE = __DIR__ . '/..';
define('ABSPATH', '/usr/share/wordpress/');
define('WP_CONTENT_DIR', SITE . '/wp-content');
define('WPMU_PLUGIN_DIR', SITE . '/mu-plugins');
define('WP_HOME', 'http://' . ($_SERVER['HTTP_HOST'] ?? 'localhost'));
define('WP_SITEURL', WP_HOME);
define('DB_NAME', 'wordpress');
define('DB_USER', 'root');
define('DB_PASSWORD', '');
define('DB_HOST', 'localhost:' . SITE . '/run/db.sock');
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
define('DISABLE_WP_CRON', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $name) {
    define("{$name}_KEY", "$name key");
    define("{$name}_SALT", "$name salt");
}
$table_prefix = 'wp_';
require SITE . '/php/autoload.php';

if (PHP_SAPI === 'cli') {
    $database = new mysqli('localhost', 'root', '', '', 0, SITE . '/run/db.sock');
    $database->query('CREATE DATABASE wordpress');
    define('WP_INSTALLING', true);
    $_SERVER += ['HTTP_HOST' => 'localhost', 'SERVER_PROTOCOL' => 'HTTP/1.1', 'REQUEST_METHOD' => 'GET', 'REQUEST_URI' => '/'];
    require ABSPATH . 'wp-settings.php';
    require ABSPATH . 'wp-admin/includes/upgrade.php';
    wp_install('test', 'ada', 'ada@example.org', false, '', 'secret');
    exit("installed\n");
}

require ABSPATH . 'wp-settings.php';
if (isset($_GET['login'])) {
    wp_set_auth_cookie(1);
    exit('signed in');
}
if (isset($_GET['nonce'])) {
    exit(wp_create_nonce('wp_rest'));
}
wp();

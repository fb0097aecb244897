<?php
// What the page in the browser says it has read. The test waits for the file, which is whole when it has its name.
file_put_contents('/tmp/report.new', file_get_contents('php://input'));
rename('/tmp/report.new', '/tmp/report');

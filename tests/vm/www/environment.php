<?php echo $_SERVER["SOCKET_HANDOFF"] ?? "";

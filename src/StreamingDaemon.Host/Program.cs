Console.Error.WriteLine("streaming-daemon");
return 1;

"""What a service needs beside a page: folders that go with their process, limits, turns and headers."""

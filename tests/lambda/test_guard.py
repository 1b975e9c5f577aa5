"""The guard against a list of hostile URLs, resolvers and servers; each is refused, and in time."""

import gzip
import io
import ipaddress
import socket
import struct
import time
import zlib

import pytest
from addresses import is_public
from errors import (
    FetchTimedOut,
    ImageTooLarge,
    NotAnImage,
    OriginFailed,
    UnreadableImage,
    UrlNotFetched,
    UrlRefused,
)
from guard import check_url, fetch
from hostile_servers import (
    HOST,
    OTHER_PUBLIC,
    PUBLIC,
    ScriptedServer,
    TestNetwork,
    answer,
    certificate,
    raw,
    redirect,
    repeat,
    silent,
)
from pictures import _jpeg_size, check_picture
from PIL import Image

OK = b"HTTP/1.1 200 OK\r\n"
JPEG_HEAD = OK + b"Content-Type: image/jpeg\r\n"
SECONDS = 0.6

REFUSED_BY_SPELLING = [
    "http://dogs.example/a.jpg",
    "ftp://dogs.example/a.jpg",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "data:image/png;base64,AAAA",
    "//dogs.example/a.jpg",
    "dogs.example/a.jpg",
    "",
    "https://",
    "https:///a.jpg",
    "https://user:secret@dogs.example/a.jpg",
    "https://dogs.example@127.0.0.1/",
    "https://@dogs.example/",
    "https://dogs.example:22/",
    "https://dogs.example:6379/",
    "https://dogs.example:0/",
    "https://dogs.example:99999/",
    "https://dogs.example:4x3/",
    "https://dogs.example\\@127.0.0.1/",
    "https://dogs.example/a b.jpg",
    "https://dogs.example/\r\nHost: internal",
    "https://dogs.example/\x00",
    "https://dogs.example/\ud800",
    "\thttps://dogs.example/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0x0.0x0.0x1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0/",
    "https://127.0.0.1./",
    "https://256.256.256.256/",
    "https://1.2.3.4.5/",
    "https://dogs.0x7f/",
    "https://127.0.0.0x1/",
    "https://[fe80::1%25eth0]/",
    "https://[2606:2800:220:1::1%251]/",
    "https://[::1/",
    "https://[dogs.example]/",
    "https://[v1.fe80]/",
    "https://dogs%2eexample/",
    "https://127%2e0%2e0%2e1/",
    "https://dogs..example/",
    "https://-dogs.example/",
    "https://" + "d" * 64 + ".example/",
    "https://dogs.example/" + "a" * 3000,
]

ADDRESSES_THAT_ARE_NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2606:2800:220:1:0:5efe:7f00:1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
]

HOSTS_THAT_MEAN_THIS_MACHINE = [
    "https://127.0.0.1/",
    "https://[::1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://[fd00:ec2::254]/",
    "https://10.0.0.1:443/",
]


def png_bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A few hundred bytes that say they are 900 megapixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_bomb(*sizes: tuple[int, int]) -> bytes:
    frames = [
        b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x01\x11\x00" for width, height in sizes
    ]
    return b"\xff\xd8\xff\xe0\x00\x04ab" + b"".join(frames) + b"\xff\xda\x00\x02" + b"x" * 20


def endless_chunks(piece: bytes = b"x" * 60_000):
    return repeat(
        JPEG_HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n\xff\xd8\xff\r\n", b"%x\r\n%s\r\n" % (len(piece), piece)
    )


HOSTILE_SERVERS = {
    "silence": (silent, FetchTimedOut),
    "headers that drip": (repeat(OK, b"X", 0.05), FetchTimedOut),
    "a status line that drips": (repeat(b"", b"H", 0.05), FetchTimedOut),
    "a body that drips": (repeat(JPEG_HEAD + b"Content-Length: 100000\r\n\r\n", b"\xff", 0.05), FetchTimedOut),
    "chunks that drip": (
        repeat(JPEG_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n\xff\r\n", 0.05),
        FetchTimedOut,
    ),
    "a chunk size that drips": (repeat(JPEG_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0", 0.05), FetchTimedOut),
    "100 Continue for ever": (repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01), FetchTimedOut),
    "an endless header line": (repeat(OK + b"X: ", b"x" * 4096), OriginFailed),
    "endless headers": (repeat(OK, b"X: y\r\n" * 100), OriginFailed),
    "an endless body": (repeat(JPEG_HEAD + b"\r\n\xff\xd8\xff", b"x" * 60_000), ImageTooLarge),
    "an endless chunked body": (endless_chunks(), ImageTooLarge),
    "a promise of too many bytes": (answer(b"\xff\xd8\xff", Content_Length="2000000"), ImageTooLarge),
    "a huge Content-Length": (answer(b"\xff\xd8\xff", Content_Length="9" * 40), ImageTooLarge),
    "a body that ends early": (answer(b"\xff\xd8\xff", Content_Length="5000"), OriginFailed),
    "a chunk that ends early": (
        raw(JPEG_HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n\xff\xd8\xff"),
        OriginFailed,
    ),
    "chunk sizes that are no numbers": (raw(JPEG_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nxx"), OriginFailed),
    "no HTTP at all": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), OriginFailed),
    "an answer of nothing": (raw(b""), OriginFailed),
    "HTML": (answer(b"<html>", "text/html"), NotAnImage),
    "HTML that calls itself JPEG": (answer(b"<html><script>", "image/jpeg"), NotAnImage),
    "SVG": (answer(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), NotAnImage),
    "GIF": (answer(b"GIF89a\x01\x00\x01\x00", "image/gif"), NotAnImage),
    "a zip named JPEG": (answer(b"PK\x03\x04" + b"\0" * 100, "image/jpeg"), NotAnImage),
    "an octet stream": (answer(b"\xff\xd8\xff", "application/octet-stream"), NotAnImage),
    "no content type": (answer(b"\xff\xd8\xff", None), NotAnImage),
    "an empty picture": (answer(b"", "image/jpeg"), NotAnImage),
    "a gzip bomb": (answer(gzip.compress(b"\0" * 10**6), Content_Encoding="gzip"), NotAnImage),
    "brotli": (answer(b"\xff\xd8\xff", Content_Encoding="br"), NotAnImage),
    "a PNG bomb": (answer(png_bomb(), "image/png"), ImageTooLarge),
    "a PNG of no width": (answer(png_bomb(0, 10), "image/png"), UnreadableImage),
    "a PNG without its header": (answer(b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "image/png"), UnreadableImage),
    "a JPEG bomb": (answer(jpeg_bomb((60_000, 60_000))), ImageTooLarge),
    "a JPEG bomb behind a small frame": (answer(jpeg_bomb((10, 10), (60_000, 60_000))), ImageTooLarge),
    "a JPEG of a thousand scans": (answer(jpeg_bomb((10, 10)) + b"\xff\xda\x00\x02" * 1000), ImageTooLarge),
    "a JPEG without a frame": (answer(jpeg_bomb()), UnreadableImage),
    "a JPEG of three bytes": (answer(b"\xff\xd8\xff"), UnreadableImage),
    "a server error": (answer(b"", "image/jpeg", "503 Service Unavailable"), OriginFailed),
    "not found": (answer(b"", "image/jpeg", "404 Not Found"), UrlNotFetched),
    "partial content": (answer(b"\xff\xd8\xff", "image/jpeg", "206 Partial Content"), UrlNotFetched),
    "a redirect to the metadata service": (redirect("https://169.254.169.254/latest/meta-data/"), UrlRefused),
    "a redirect to plain HTTP": (redirect("http://dogs.example/good"), UrlRefused),
    "a redirect to this machine by name": (redirect("https://inside.example/good"), UrlRefused),
    "a redirect to a file": (redirect("file:///etc/passwd"), UrlRefused),
    "a redirect to another port": (redirect("https://dogs.example:8080/"), UrlRefused),
    "a redirect with credentials": (redirect("https://a:b@dogs.example/good"), UrlRefused),
    "a redirect that splits the request": (redirect("https://dogs.example/\tgood"), UrlRefused),
    "a redirect to itself": (redirect("/a%20redirect%20to%20itself"), UrlNotFetched),
    "a redirect to nowhere": (answer(b"", None, "302 Found"), UrlNotFetched),
    "a redirect to a broken address": (redirect("https://[::1/"), UrlRefused),
}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("certificates"), HOST, "inside.example", "cats.example")


@pytest.fixture(scope="module")
def servers(certificates, jpeg, png):
    scripts = {f"/{name.replace(' ', '%20')}": script for name, (script, _) in HOSTILE_SERVERS.items()}
    scripts |= {
        "/good": answer(jpeg),
        "/good.png": answer(png, "image/png; charset=binary"),
        "/good?size=large&name=r%C3%A9x": answer(jpeg),
        "/chunked": answer(b"%x\r\n%s\r\n0\r\n\r\n" % (len(jpeg), jpeg), "IMAGE/JPEG", Transfer_Encoding="chunked"),
        "/without-length": raw(JPEG_HEAD + b"\r\n" + jpeg),
        "/once": redirect("twice"),
        "/twice": redirect("https://cats.example/thrice", "301 Moved Permanently"),
        "/thrice": redirect("//dogs.example/good", "308 Permanent Redirect"),
        "/four-times": redirect("/once"),
    }
    https, http = ScriptedServer(scripts, certificates[0]), ScriptedServer(scripts)
    yield https, http
    https.close()
    http.close()


@pytest.fixture
def net(servers, certificates) -> TestNetwork:
    https, http = servers
    https.seen.clear()
    http.seen.clear()
    net = TestNetwork(https, http, certificates[1])
    net.names |= {"cats.example": [OTHER_PUBLIC], "inside.example": ["127.0.0.1"]}
    return net


@pytest.mark.parametrize("path", ["good", "chunked", "without-length"])
def test_a_picture_behind_https_is_fetched_whole(net, jpeg, path):
    picture = fetch(f"https://{HOST}/{path}", network=net.network)
    assert (picture.data, picture.content_type) == (jpeg, "image/jpeg")


def test_the_type_is_told_by_the_bytes(net, png):
    assert fetch(f"https://{HOST}/good.png", network=net.network).content_type == "image/png"


def test_query_and_foreign_letters_reach_the_server_percent_encoded(net, servers, jpeg):
    assert fetch(f"https://{HOST}/good?size=large&name=réx#part", network=net.network).data == jpeg
    head = servers[0].seen[0].decode()
    assert f"\r\nHost: {HOST}\r\n" in head
    assert "\r\nAccept-Encoding: identity\r\n" in head
    assert "ookie" not in head and "uthorization" not in head


def test_three_redirects_are_followed_and_each_name_is_looked_up_once_per_hop(net, jpeg):
    assert fetch(f"https://{HOST}/once", network=net.network).data == jpeg
    assert net.looked_up == [HOST, HOST, "cats.example", HOST]
    assert net.dialled == [(PUBLIC, 443), (PUBLIC, 443), (OTHER_PUBLIC, 443), (PUBLIC, 443)]


def test_a_fourth_redirect_is_not_followed(net):
    with pytest.raises(UrlNotFetched, match="more than 3"):
        fetch(f"https://{HOST}/four-times", network=net.network)


def test_plain_http_is_fetched_only_where_a_setting_allows_it(net, jpeg):
    assert fetch(f"http://{HOST}/good", allow_http=True, network=net.network).data == jpeg
    assert net.dialled == [(PUBLIC, 80)]
    with pytest.raises(UrlRefused, match="https://"):
        fetch(f"http://{HOST}/good", network=net.network)


def test_proxy_settings_of_the_environment_are_not_read(net, jpeg, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(f"https://{HOST}/good", network=net.network).data == jpeg


@pytest.mark.parametrize("url", REFUSED_BY_SPELLING, ids=lambda url: ascii(url)[:60])
def test_a_url_of_hostile_spelling_is_refused_before_any_look_up(net, url):
    with pytest.raises(UrlRefused):
        fetch(url, network=net.network)
    assert net.looked_up == net.dialled == []


@pytest.mark.parametrize("url", HOSTS_THAT_MEAN_THIS_MACHINE, ids=ascii)
def test_an_address_in_the_url_that_is_not_public_is_never_connected_to(net, url):
    with pytest.raises(UrlRefused):
        fetch(url, network=net.network)
    assert net.dialled == []


@pytest.mark.parametrize("address", ADDRESSES_THAT_ARE_NOT_PUBLIC)
def test_a_name_that_resolves_to_an_address_that_is_not_public_is_refused(net, address):
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        net.names[HOST] = addresses
        with pytest.raises(UrlRefused) as refusal:
            fetch(f"https://{HOST}/good", network=net.network)
        assert address not in str(refusal.value)
    assert net.dialled == []


@pytest.mark.parametrize("address", [PUBLIC, OTHER_PUBLIC, "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"])
def test_public_addresses_are_public_in_every_form(address):
    assert is_public(ipaddress.ip_address(address))


def test_a_name_that_is_rebound_after_the_check_gains_nothing(net, jpeg):
    answers = iter([[PUBLIC], ["127.0.0.1"], ["169.254.169.254"]])
    net.names[HOST] = lambda: next(answers)
    assert fetch(f"https://{HOST}/good", network=net.network).data == jpeg
    assert net.dialled == [(PUBLIC, 443)]
    assert net.looked_up == [HOST]
    with pytest.raises(UrlRefused):
        fetch(f"https://{HOST}/good", network=net.network)


def test_a_redirect_to_the_same_name_that_is_rebound_meanwhile_is_refused(net):
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    net.names[HOST] = lambda: next(answers)
    with pytest.raises(UrlRefused):
        fetch(f"https://{HOST}/once", network=net.network)
    assert net.dialled == [(PUBLIC, 443)]


@pytest.mark.parametrize("name", HOSTILE_SERVERS)
def test_a_hostile_server_is_refused_in_time(net, name):
    began = time.monotonic()
    with pytest.raises(HOSTILE_SERVERS[name][1]):
        fetch(f"https://{HOST}/{name.replace(' ', '%20')}", max_bytes=1_000_000, seconds=SECONDS, network=net.network)
    assert time.monotonic() - began < SECONDS + 0.5
    assert all(address == (PUBLIC, 443) for address in net.dialled)


def test_the_whole_time_counts_redirects_too(net):
    net.names[HOST] = lambda: time.sleep(0.25) or [PUBLIC]
    with pytest.raises(FetchTimedOut):
        fetch(f"https://{HOST}/once", seconds=0.6, network=net.network)
    assert len(net.dialled) == 3


def test_a_name_server_that_does_not_answer_costs_no_more_than_the_time_limit(net):
    net.names[HOST] = lambda: time.sleep(3) or [PUBLIC]
    began = time.monotonic()
    with pytest.raises(FetchTimedOut):
        fetch(f"https://{HOST}/good", seconds=0.3, network=net.network)
    assert time.monotonic() - began < 1


def test_a_name_that_nobody_knows_is_told_as_that(net):
    with pytest.raises(UrlNotFetched, match="cannot be resolved"):
        fetch("https://nobody.example/", network=net.network)


def test_the_next_address_is_tried_when_one_does_not_answer(net, servers, certificates, jpeg):
    def dial(address, timeout):
        if address[0] == OTHER_PUBLIC:
            raise OSError("no route to host")
        return TestNetwork.dial(net, address, timeout)

    net.names[HOST] = [OTHER_PUBLIC, PUBLIC]
    network = type(net.network)(resolve=net.resolve, dial=dial, tls=net.network.tls)
    assert fetch(f"https://{HOST}/good", network=network).data == jpeg
    net.names[HOST] = [OTHER_PUBLIC]
    with pytest.raises(OriginFailed, match="does not accept connections"):
        fetch(f"https://{HOST}/good", network=network)


def test_a_certificate_for_another_name_is_refused(net):
    net.names["other.example"] = [PUBLIC]
    with pytest.raises(OriginFailed, match="certificate"):
        fetch("https://other.example/good", network=net.network)


def test_an_expired_certificate_is_refused(tmp_path, jpeg):
    server_side, trust = certificate(tmp_path, HOST, days=-1)
    server = ScriptedServer({"/good": answer(jpeg)}, server_side)
    net = TestNetwork(server, server, trust)
    with pytest.raises(OriginFailed, match="certificate"):
        fetch(f"https://{HOST}/good", network=net.network)
    server.close()


def test_a_tls_handshake_that_never_ends_is_cut_off(net, servers):
    quiet = socket.create_server(("127.0.0.1", 0))
    net._ports[443] = quiet.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(FetchTimedOut):
        fetch(f"https://{HOST}/good", seconds=0.4, network=net.network)
    assert time.monotonic() - began < 1
    quiet.close()


def test_the_standard_network_reaches_nothing_on_this_machine(servers):
    for url in ("https://localhost/", f"https://127.0.0.1:{servers[0].port}/good", "https://[::1]/good"):
        with pytest.raises(UrlRefused):
            fetch(url)


def test_the_list_of_hostile_urls_and_servers_is_long_enough():
    count = (
        len(REFUSED_BY_SPELLING)
        + len(ADDRESSES_THAT_ARE_NOT_PUBLIC)
        + len(HOSTS_THAT_MEAN_THIS_MACHINE)
        + len(HOSTILE_SERVERS)
    )
    print(f"{count} hostile URLs, addresses and servers")
    assert count >= 60


def test_a_foreign_host_name_is_looked_up_in_its_ascii_form():
    assert check_url("https://bücher.example/", allow_http=False).host == "xn--bcher-kva.example"
    assert check_url("https://DOGS.Example./", allow_http=False).host == "dogs.example"


@pytest.mark.parametrize("subsampling, progressive", [(0, False), (2, True)])
def test_sizes_of_real_pictures_are_read_from_their_headers(subsampling, progressive):
    buffer = io.BytesIO()
    picture = Image.new("RGB", (321, 123))
    exif = Image.Exif()
    exif[0x010E] = "a dog"
    picture.save(buffer, "JPEG", subsampling=subsampling, progressive=progressive, exif=exif)
    assert check_picture(buffer.getvalue()) == "image/jpeg"
    assert _jpeg_size(buffer.getvalue()) == (321, 123)

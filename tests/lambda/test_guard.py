"""The guard against a list of hostile URLs, resolvers and servers; each is refused, and in time."""

import io
import ipaddress
import socket
import threading
import time
import tracemalloc
from types import SimpleNamespace

import guard
import pytest
from addresses import is_public
from errors import FetchTimedOut, ImageTooLarge, OriginFailed, UnreadableImage, UrlNotFetched, UrlRefused
from guard import check_url, fetch
from hostile_list import (
    ADDRESSES_THAT_ARE_NOT_PUBLIC,
    COUNT,
    HOSTILE_HANDSHAKES,
    HOSTILE_SERVERS,
    HOSTS_THAT_MEAN_THIS_MACHINE,
    JPEG_HEAD,
    NAMES_THAT_MEAN_THIS_MACHINE,
    REFUSED_BY_SPELLING,
    png_bomb,
)
from hostile_servers import HOST, OTHER_PUBLIC, PUBLIC, ScriptedServer, TestNetwork, answer, certificate, raw, redirect
from pictures import check_picture
from PIL import Image

from contract.pictures import header
from tests.waiting import HANG

SECONDS = 0.6


def limit(error: type[Exception] | tuple[type[Exception], ...]) -> float:
    """What `fetch` is given: little where the time that it takes is what it must end for, else more than it takes."""
    return SECONDS if error is FetchTimedOut or isinstance(error, tuple) else HANG


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
    net.names |= {"cats.example": [OTHER_PUBLIC]} | NAMES_THAT_MEAN_THIS_MACHINE
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
    error = HOSTILE_SERVERS[name][1]
    with pytest.raises(error):
        path = name.replace(" ", "%20")
        fetch(f"https://{HOST}/{path}", max_bytes=1_000_000, seconds=limit(error), network=net.network)
    assert all(address == (PUBLIC, 443) for address in net.dialled)


def test_the_whole_time_counts_redirects_too(net, monkeypatch):
    passed = 0.0

    def slowly() -> list[str]:
        nonlocal passed
        passed += 100
        return [PUBLIC]

    monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: passed))
    net.names.update(dict.fromkeys((HOST, "cats.example", "dogs.example"), slowly))
    with pytest.raises(FetchTimedOut):
        fetch(f"https://{HOST}/once", seconds=250, network=net.network)
    assert len(net.dialled) == 2


def test_a_name_server_that_does_not_answer_costs_no_more_than_the_time_limit(net):
    answers = threading.Event()
    net.names[HOST] = lambda: answers.wait(HANG) and [PUBLIC]
    with pytest.raises(FetchTimedOut):
        fetch(f"https://{HOST}/good", seconds=0.3, network=net.network)
    answers.set()


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


def test_a_certificate_whose_common_name_alone_fits_is_refused(tmp_path, jpeg):
    server_side, trust = certificate(tmp_path, HOST, listed=False)
    server = ScriptedServer({"/good": answer(jpeg)}, server_side)
    net = TestNetwork(server, server, trust)
    with pytest.raises(OriginFailed, match="certificate"):
        fetch(f"https://{HOST}/good", network=net.network)
    server.close()


@pytest.mark.parametrize("said", [False, True])
def test_a_body_that_ends_without_the_end_of_tls_is_whole_only_if_its_length_was_said(certificates, jpeg, said):
    """Without close_notify nobody knows whether the server or somebody on the way ended the connection."""

    def cut(sock, _):
        sock.sendall(JPEG_HEAD + (b"Content-Length: %d\r\n" % len(jpeg) if said else b"") + b"\r\n" + jpeg)
        sock.shutdown(socket.SHUT_RDWR)  # of the TCP connection: SSLSocket says nothing of it to the other side

    server = ScriptedServer({"/cut": cut}, certificates[0])
    net = TestNetwork(server, server, certificates[1])
    if said:
        assert fetch(f"https://{HOST}/cut", network=net.network).data == jpeg
    else:
        with pytest.raises(OriginFailed, match="broke off"):
            fetch(f"https://{HOST}/cut", network=net.network)
    server.close()


@pytest.mark.parametrize("name", HOSTILE_HANDSHAKES)
def test_a_hostile_handshake_is_refused_in_time(certificates, name):
    script, error = HOSTILE_HANDSHAKES[name]
    server = ScriptedServer({}, handshake=script)
    net = TestNetwork(server, server, certificates[1])
    with pytest.raises(error):
        fetch(f"https://{HOST}/good", seconds=limit(error), network=net.network)
    server.close()


def test_a_flood_of_session_tickets_does_not_hold_the_guard_up(tmp_path, jpeg):
    server_side, trust = certificate(tmp_path, HOST)
    server_side.num_tickets = 1_000_000
    server = ScriptedServer({"/good": answer(jpeg)}, server_side)
    net = TestNetwork(server, server, trust)
    with pytest.raises(FetchTimedOut):
        fetch(f"https://{HOST}/good", seconds=SECONDS, network=net.network)
    server.close()


def test_the_connection_to_the_checked_address_asks_for_the_urls_name(tmp_path, jpeg):
    server_side, trust = certificate(tmp_path, HOST)
    asked: list[str | None] = []
    server_side.sni_callback = lambda _, name, __: asked.append(name)
    server = ScriptedServer({"/good": answer(jpeg)}, server_side)
    net = TestNetwork(server, server, trust)
    assert fetch("https://DOGS.example./good", network=net.network).data == jpeg
    assert asked == [HOST]
    assert b"\r\nHost: dogs.example\r\n" in server.seen[0]
    assert net.dialled == [(PUBLIC, 443)]
    server.close()


def test_a_certificate_of_nobody_known_is_refused(net, tmp_path):
    _, other_trust = certificate(tmp_path, HOST)
    net.network = type(net.network)(resolve=net.resolve, dial=net.dial, tls=lambda: other_trust)
    with pytest.raises(OriginFailed, match="certificate"):
        fetch(f"https://{HOST}/good", network=net.network)


@pytest.mark.parametrize("url", ["https://dogs.example/good?@127.0.0.1/", "https://dogs.example/good#@127.0.0.1/"])
def test_what_looks_like_credentials_behind_the_path_is_no_host(net, servers, jpeg, url):
    servers[0].scripts["/good?@127.0.0.1/"] = answer(jpeg)
    assert fetch(url, network=net.network).data == jpeg
    assert net.looked_up == [HOST]


def test_a_resolver_that_breaks_is_no_way_around_the_guard(net):
    def broken() -> list[str]:
        raise ValueError("embedded null byte")

    net.names[HOST] = broken
    with pytest.raises(UrlNotFetched):
        fetch(f"https://{HOST}/good", network=net.network)


@pytest.mark.parametrize("name", ["a chunk of size minus one", "an endless body", "a huge chunk"])
def test_an_endless_answer_does_not_fill_the_memory(net, name):
    tracemalloc.start()
    with pytest.raises(ImageTooLarge):
        fetch(f"https://{HOST}/{name.replace(' ', '%20')}", max_bytes=1_000_000, network=net.network)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 9_999_990,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 2_499_990,
        b"\xff\xd8\xff\xe0\0\2" + b"\xff\xd0" * 4_999_990,
        b"\xff\xd8\xff\xe0\0\2" + b"\xff\xd8" * 4_999_990,
        png_bomb(10, 10)[:33] + b"\0\0\0\0tEXt\0\0\0\0" * 800_000,
    ],
    ids=["fill bytes", "empty segments", "restart markers", "starts", "chunks"],
)
def test_a_picture_of_ten_million_bytes_of_headers_costs_no_time(data):
    began = time.process_time()
    with pytest.raises(UnreadableImage):
        check_picture(data)
    assert time.process_time() - began < 0.2


def test_a_large_progressive_picture_as_editors_write_it_is_fine():
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 8000)).save(buffer, "JPEG", progressive=True)
    assert buffer.getvalue().count(b"\xff\xda") == 10
    assert check_picture(buffer.getvalue()) == "image/jpeg"


def test_a_colour_profile_and_a_comment_before_the_pixels_are_fine():
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16)).save(buffer, "PNG", icc_profile=b"p" * 5000, exif=Image.Exif())
    assert check_picture(buffer.getvalue()) == "image/png"
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16)).save(buffer, "JPEG", icc_profile=b"p" * 1_000_000, comment=b"a dog" * 1000)
    assert check_picture(buffer.getvalue()) == "image/jpeg"


def test_the_standard_network_reaches_nothing_on_this_machine(servers):
    for url in ("https://localhost/", f"https://127.0.0.1:{servers[0].port}/good", "https://[::1]/good"):
        with pytest.raises(UrlRefused):
            fetch(url)


def test_the_list_of_hostile_urls_and_servers_is_long_enough():
    print(f"{COUNT} hostile URLs, addresses, servers and handshakes")
    assert COUNT >= 60


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
    found = header(buffer.getvalue())
    assert (found.width, found.height) == (321, 123)

"""How far can a call go that nobody can ever decrypt? Limits of quantum links with lossy stations (2110.10168).

python examples/lossy_repeaters.py
"""

from fullduplex.links.call import Call, reaches, talk_share
from fullduplex.links.chains import Station, chain_rate, even_chain, station_limit
from fullduplex.links.channels import fibre
from fullduplex.links.network import Link, Network, multi_path, single_path
from fullduplex.links.placement import break_even_station_db, fewest_stations

station = Station(receive_db=2.0)  # what a photon risks on its way into a station's memory
call = Call(bits_per_s=24_000, clock_hz=1e9)  # Opus, both ways; a source of one gigahertz

print(f"the call needs {call.key_bits_per_use:.2g} bits of key per use; no protocol secures it beyond")
for ideal, lossy in zip(reaches(call, (0, 1, 5, 10)), reaches(call, (0, 1, 5, 10), station), strict=True):
    print(
        f"  {ideal.num_stations:2} stations: {ideal.longest_km:6.0f} km if ideal, {lossy.longest_km:6.0f} km if lossy"
    )

total_db = 0.2 * 1000
print("1000 km take at least", fewest_stations(call.key_bits_per_use, total_db, station), "such stations")
direct = chain_rate(even_chain(total_db, 0))
print(f"without any: {talk_share(call, direct):.1e} seconds of call per second of key, {direct}")
print(f"three stations help if each loses less than {break_even_station_db(total_db, 3):.0f} dB")
print("and no number of them passes", station_limit(station.loss_db))

cities = (("Oslo", "Hamburg", 90.0), ("Hamburg", "Prague", 60.0), ("Oslo", "Berlin", 85.0), ("Berlin", "Prague", 40.0))
links = tuple(Link(a=a, b=b, channel=fibre(km)) for a, b, km in cities)
network = Network(links=links, stations={"Hamburg": station, "Berlin": station})
route = single_path(network, "Oslo", "Prague")
every = multi_path(network, "Oslo", "Prague")
print(" - ".join(route.nodes), "carries", route.rate)
print(
    f"both ways at once carry {every.rate.bits_per_use:.4g}, cut by",
    *(links[i].a + "-" + links[i].b for i in every.cut_links),
)

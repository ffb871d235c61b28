"""The mono-jet selection in ROOT's RDataFrame: a script of its own, since ROOT brings its own compiler.

    python rdataframe_monojet.py FILE REPEATS

prints one JSON object: events per variation and region, histograms by variation, region and observable, CPU seconds of
each run, and those of compiling, which no run includes. One thread, -O2, everything compiled before the first run.
"""

import json
import os
import sys
import time

os.environ["EXTRA_CLING_ARGS"] = "-O2"
import ROOT  # after its compiler's options

CODE = r"""
#pragma cling optimize(2)
#include <ROOT/RDataFrame.hxx>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace monojet {
using F = ROOT::RVec<float>; using I = ROOT::RVec<int>; using B = ROOT::RVec<bool>; using U = ROOT::RVec<unsigned char>;
const double nan = std::numeric_limits<double>::quiet_NaN();
const char *names[20] = {"recoil", "jet_pt", "jet_eta", "charged_fraction", "neutral_fraction", "min_dphi", "b_jets",
  "dimuon_mass", "MET", "jet_phi", "jets", "second_jet_pt", "second_jet_eta", "ht", "dphi_jet_met", "muon_pt", "muon_eta",
  "second_muon_pt", "transverse_mass", "vertices"};

template <class T> T wrap(T x) {
  const T pi = M_PI, period = 2 * M_PI;
  x = std::fmod(x + pi, period);
  return (x < 0 ? x + period : x) - pi;
}
bool near(float eta, float phi, float eta2, float phi2) {
  const float deta = eta - eta2, dphi = wrap<float>(phi - phi2);
  return !(deta * deta + dphi * dphi > float(0.4 * 0.4));
}

struct Jets { const F &pt, &eta, &phi, &charged, &neutral, &btag; };
struct Objects { int region = 0; F muon_pt, muon_eta, muon_phi; float muon_x = 0, muon_y = 0; std::vector<char> clean, tagged; };
struct Event { int region = 0; std::array<double, 20> value; };

Objects objects(const F &ept, const F &eeta, const F &ephi, const I &eid, const F &mpt, const F &meta, const F &mphi,
    const B &mloose, const B &mtight, const F &miso, const I &mcharge, const F &gpt, const F &geta, const F &gphi,
    const I &gid, const F &tpt, const F &teta, const F &tphi, const U &tid, const F &jeta, const F &jphi, const F &jbtag) {
  Objects found;
  std::vector<std::pair<float, float>> away;
  int electrons = 0, photons = 0, taus = 0, tight = 0, charge = 0;
  for (size_t i = 0; i < ept.size(); ++i)
    if (ept[i] > 10 && std::abs(eeta[i]) < 2.5f && eid[i] >= 1) { ++electrons; away.emplace_back(eeta[i], ephi[i]); }
  if (electrons) return found;
  for (size_t i = 0; i < mpt.size(); ++i) {
    if (!(std::abs(meta[i]) < 2.4f)) continue;
    if (mpt[i] > 20 && mtight[i] && miso[i] <= 0.15f) ++tight;
    if (mpt[i] > 10 && mloose[i] && miso[i] <= 0.25f) {
      found.muon_pt.push_back(mpt[i]); found.muon_eta.push_back(meta[i]); found.muon_phi.push_back(mphi[i]);
      found.muon_x += mpt[i] * std::cos(mphi[i]); found.muon_y += mpt[i] * std::sin(mphi[i]);
      charge += mcharge[i]; away.emplace_back(meta[i], mphi[i]);
    }
  }
  for (size_t i = 0; i < gpt.size(); ++i) if (gpt[i] > 15 && std::abs(geta[i]) < 2.5f && gid[i] >= 1) return found;
  for (size_t i = 0; i < tpt.size(); ++i)
    if (tpt[i] > 18 && std::abs(teta[i]) < 2.3f && tid[i] >= 15) {
      bool alone = true;
      for (auto &other : away) if (near(teta[i], tphi[i], other.first, other.second)) { alone = false; break; }
      if (alone) return found;
    }
  const size_t muons = found.muon_pt.size();
  if (muons == 0) found.region = 1;
  else if (muons == 2 && tight >= 1 && charge == 0) found.region = 2;
  else if (muons == 1 && tight == 1) found.region = 3;
  else return found;
  for (size_t i = 0; i < jeta.size(); ++i) {
    bool clean = true;
    for (auto &other : away) if (near(jeta[i], jphi[i], other.first, other.second)) { clean = false; break; }
    found.clean.push_back(clean);
    found.tagged.push_back(clean && std::abs(jeta[i]) < 2.4f && jbtag[i] > 0.2783f);
  }
  return found;
}

Event select(const Objects &o, const F &pt0, const F &eta, const F &phi, const F &charged, const F &neutral, float met_pt,
    float met_phi0, int vertices, double shift) {
  Event event;
  if (!o.region) return event;
  const float factor = 1.0 + shift;
  F pt = shift == 0 ? pt0 : pt0 * factor;
  std::vector<size_t> order;
  for (size_t i = 0; i < pt.size(); ++i) if (o.clean[i]) order.push_back(i);
  if (order.empty()) return event;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return pt[a] > pt[b]; });
  const size_t lead = order[0];
  if (!(pt[lead] > 100) || !(std::abs(eta[lead]) < 2.4) || charged[lead] <= 0.1 || neutral[lead] >= 0.8) return event;
  for (size_t i = 0; i < pt.size(); ++i) if (o.tagged[i] && pt[i] > 20) return event;
  double met_x = double(met_pt) * std::cos(double(met_phi0)), met_y = double(met_pt) * std::sin(double(met_phi0));
  if (shift != 0) {
    float bx = 0, by = 0, ax = 0, ay = 0;
    for (size_t i = 0; i < pt.size(); ++i) if (pt0[i] > 15) {
      const float c = std::cos(phi[i]), s = std::sin(phi[i]);
      bx += pt0[i] * c; by += pt0[i] * s; ax += pt[i] * c; ay += pt[i] * s;
    }
    met_x = met_x - ax + bx; met_y = met_y - ay + by;
  }
  const double x = met_x + o.muon_x, y = met_y + o.muon_y, recoil = std::hypot(x, y);
  if (!(recoil > 250)) return event;
  const double direction = std::atan2(y, x);
  double least = M_PI; int number = 0; double ht = 0;
  for (size_t k = 0; k < order.size() && k < 4; ++k)
    if (pt[order[k]] > 30) least = std::min(least, std::abs(wrap<double>(double(phi[order[k]]) - direction)));
  if (!(least > 0.5)) return event;
  for (size_t i = 0; i < pt.size(); ++i) if (o.clean[i] && pt[i] > 30) { ++number; ht += pt[i]; }
  const double met = std::hypot(met_x, met_y), met_phi = std::atan2(met_y, met_x);
  const bool one = o.muon_pt.size() > 0, two = o.muon_pt.size() > 1;
  double mass = nan, mt = nan;
  if (two) mass = std::sqrt(2 * o.muon_pt[0] * o.muon_pt[1] *
      (std::cosh(o.muon_eta[0] - o.muon_eta[1]) - std::cos(o.muon_phi[0] - o.muon_phi[1])));
  if (one) mt = std::sqrt(2 * double(o.muon_pt[0]) * met * (1 - std::cos(double(o.muon_phi[0]) - met_phi)));
  if (o.region == 2 && !(mass > 60 && mass < 120)) return event;
  if (o.region == 3 && !(mt < 160)) return event;
  const size_t second = order.size() > 1 ? order[1] : lead;
  event.region = o.region;
  event.value = {recoil, pt[lead], eta[lead], charged[lead], neutral[lead], least, 0.0, mass, met, phi[lead], double(number),
    order.size() > 1 ? pt[second] : nan, order.size() > 1 ? eta[second] : nan, ht,
    std::abs(wrap<double>(double(phi[lead]) - met_phi)), one ? o.muon_pt[0] : nan, one ? o.muon_eta[0] : nan,
    two ? o.muon_pt[1] : nan, mt, double(vertices)};
  return event;
}

bool drawn(int observable, int region) {
  switch (observable) {
    case 15: case 16: return region != 1;
    case 7: case 17: return region == 2;
    case 18: return region == 3;
    default: return true;
  }
}

std::map<std::string, std::vector<double>> run(const std::string &path, const std::vector<std::vector<double>> &edges) {
  ROOT::RDataFrame frame("Events", path);
  auto base = frame.Define("weight", [](float w) { return double(w); }, {"genWeight"})
    .Define("objects", objects, {"Electron_pt", "Electron_eta", "Electron_phi", "Electron_cutBased", "Muon_pt", "Muon_eta",
      "Muon_phi", "Muon_looseId", "Muon_tightId", "Muon_pfRelIso04_all", "Muon_charge", "Photon_pt", "Photon_eta",
      "Photon_phi", "Photon_cutBased", "Tau_pt", "Tau_eta", "Tau_phi", "Tau_idDeepTau2017v2p1VSjet", "Jet_eta", "Jet_phi",
      "Jet_btagDeepFlavB"});
  std::map<std::string, ROOT::RDF::RResultPtr<TH1D>> booked;
  std::map<std::string, ROOT::RDF::RResultPtr<ULong64_t>> counts;
  const std::vector<std::pair<std::string, double>> shifts = {{"nominal", 0.0}, {"jet_energy_scale_up", 0.02},
    {"jet_energy_scale_down", -0.02}};
  for (auto &[name, shift] : shifts) {
    const double size = shift;
    auto seen = base.Define("seen", [size](const Objects &o, const F &pt, const F &eta, const F &phi, const F &ch, const F &ne,
        float met, float met_phi, int vertices) { return select(o, pt, eta, phi, ch, ne, met, met_phi, vertices, size); },
      {"objects", "Jet_pt", "Jet_eta", "Jet_phi", "Jet_chHEF", "Jet_neHEF", "MET_pt", "MET_phi", "PV_npvs"});
    for (int region = 1; region <= 3; ++region) {
      ROOT::RDF::RNode chosen = seen.Filter([region](const Event &e) { return e.region == region; }, {"seen"});
      const std::string label = name + "/" + std::to_string(region);
      counts[label] = chosen.Count();
      for (int k = 0; k < 20; ++k) {
        if (!drawn(k, region)) continue;
        auto filled = chosen.Define("value", [k](const Event &e) { return e.value[k]; }, {"seen"})
          .Filter([](double value) { return !std::isnan(value); }, {"value"});
        const std::string full = label + "/" + names[k];
        booked[full] = filled.Histo1D<double, double>(
          ROOT::RDF::TH1DModel(full.c_str(), "", int(edges[k].size()) - 1, edges[k].data()), "value", "weight");
      }
    }
  }
  std::map<std::string, std::vector<double>> found;
  for (auto &[label, count] : counts) found[label] = {double(*count)};
  for (auto &[label, histogram] : booked) {
    auto &content = found[label];
    for (int bin = 0; bin <= histogram->GetNbinsX() + 1; ++bin) content.push_back(histogram->GetBinContent(bin));
  }
  return found;
}
}
"""


def main(path: str, repeats: int, edges: list[list[float]]) -> None:
    """Run and print."""
    ROOT.gErrorIgnoreLevel = ROOT.kError
    begin = time.process_time()
    if not ROOT.gInterpreter.Declare(CODE):
        raise SystemExit("the selection does not compile")
    binning = ROOT.std.vector["std::vector<double>"]([ROOT.std.vector["double"](row) for row in edges])
    found = ROOT.monojet.run(path, binning)
    compiled, seconds = time.process_time() - begin, []
    for _ in range(repeats):
        begin = time.process_time()
        found = ROOT.monojet.run(path, binning)
        seconds.append(time.process_time() - begin)
    content = {str(label): list(values) for label, values in found}
    found = {"content": content, "cpu_s": seconds, "compile_cpu_s": compiled, "version": str(ROOT.__version__)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.stdin.read()))

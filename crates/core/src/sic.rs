//! From a code of the Standard Industrial Classification to a sector and an industry.
//!
//! The mapping is panscan's own: the classification knows divisions and major groups, not the sectors that
//! desks speak of, and the provider sends nothing else. It is coarse where the classification is, e.g. a code of
//! a conglomerate says what it registered as and not what it earns with. Not here: sectors of any licensed
//! scheme, which a universe file can bring instead.

use self::Sector::{
    BasicMaterials, CommunicationServices, ConsumerDiscretionary, ConsumerStaples, Energy, FinancialServices,
    Healthcare, Industrials, RealEstate, Technology, Utilities,
};

/// A sector of panscan's own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sector {
    /// Metals, chemicals, wood, paper, farming.
    BasicMaterials,
    /// Telephones, broadcasting, publishing, films.
    CommunicationServices,
    /// Cars, clothes, homes, shops, travel.
    ConsumerDiscretionary,
    /// Food, drink, tobacco, household goods and where they are sold.
    ConsumerStaples,
    /// Coal, oil, gas and their pipelines.
    Energy,
    /// Banks, insurers, brokers, funds.
    FinancialServices,
    /// Medicines, devices, hospitals, health plans.
    Healthcare,
    /// Machines, aircraft, building, freight, services to companies.
    Industrials,
    /// Trusts, agents and developers.
    RealEstate,
    /// Computers, chips, software.
    Technology,
    /// Electricity, gas, water, waste.
    Utilities,
}

impl Sector {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::BasicMaterials,
        Self::CommunicationServices,
        Self::ConsumerDiscretionary,
        Self::ConsumerStaples,
        Self::Energy,
        Self::FinancialServices,
        Self::Healthcare,
        Self::Industrials,
        Self::RealEstate,
        Self::Technology,
        Self::Utilities,
    ];

    /// Its name in the attribute `sector`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BasicMaterials => "Basic Materials",
            Self::CommunicationServices => "Communication Services",
            Self::ConsumerDiscretionary => "Consumer Discretionary",
            Self::ConsumerStaples => "Consumer Staples",
            Self::Energy => "Energy",
            Self::FinancialServices => "Financial Services",
            Self::Healthcare => "Healthcare",
            Self::Industrials => "Industrials",
            Self::RealEstate => "Real Estate",
            Self::Technology => "Technology",
            Self::Utilities => "Utilities",
        }
    }
}

/// Where a code belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Industry {
    /// Its sector.
    pub sector: Sector,
    /// Its name in the attribute `industry`.
    pub name: &'static str,
}

/// What a four-digit code says; `None` for a code that no group has, and for those that name no business:
/// private households, governments, depositary receipts, companies without operations.
#[must_use]
pub fn industry(code: u16) -> Option<Industry> {
    let at = TABLE.partition_point(|row| row.to < code);
    let row = TABLE.get(at).filter(|row| row.from <= code)?;
    Some(Industry { sector: row.sector, name: row.name })
}

/// The same for a code as a provider writes it: three or four digits, a leading zero of which may be lost.
#[must_use]
pub fn industry_of(text: &str) -> Option<Industry> {
    let text = text.trim();
    let sound = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    industry(text.parse().ok().filter(|_| sound)?)
}

/// The codes `from` to `to`, both included.
struct Row {
    from: u16,
    to: u16,
    sector: Sector,
    name: &'static str,
}

const fn row(from: u16, to: u16, sector: Sector, name: &'static str) -> Row {
    Row { from, to, sector, name }
}

/// Ascending and disjoint.
const TABLE: &[Row] = &[
    // A: agriculture, forestry, fishing
    row(100, 199, ConsumerStaples, "Crops"),
    row(200, 299, ConsumerStaples, "Livestock"),
    row(700, 799, ConsumerStaples, "Agricultural Services"),
    row(800, 899, BasicMaterials, "Forestry"),
    row(900, 999, ConsumerStaples, "Fishing"),
    // B: mining
    row(1000, 1039, BasicMaterials, "Metal Mining"),
    row(1040, 1049, BasicMaterials, "Gold"),
    row(1050, 1099, BasicMaterials, "Metal Mining"),
    row(1200, 1299, Energy, "Coal"),
    row(1300, 1379, Energy, "Oil and Gas Production"),
    row(1380, 1399, Energy, "Oil Services"),
    row(1400, 1499, BasicMaterials, "Quarrying"),
    // C: construction
    row(1500, 1539, ConsumerDiscretionary, "Home Building"),
    row(1540, 1599, Industrials, "Building Contractors"),
    row(1600, 1699, Industrials, "Heavy Construction"),
    row(1700, 1799, Industrials, "Special Trade Contractors"),
    // D: manufacturing
    row(2000, 2079, ConsumerStaples, "Packaged Foods"),
    row(2080, 2089, ConsumerStaples, "Beverages"),
    row(2090, 2099, ConsumerStaples, "Packaged Foods"),
    row(2100, 2199, ConsumerStaples, "Tobacco"),
    row(2200, 2299, ConsumerDiscretionary, "Textiles"),
    row(2300, 2399, ConsumerDiscretionary, "Apparel"),
    row(2400, 2449, BasicMaterials, "Wood Products"),
    row(2450, 2459, ConsumerDiscretionary, "Home Building"),
    row(2460, 2499, BasicMaterials, "Wood Products"),
    row(2500, 2519, ConsumerDiscretionary, "Furniture"),
    row(2520, 2599, Industrials, "Office Furniture"),
    row(2600, 2699, BasicMaterials, "Paper"),
    row(2700, 2749, CommunicationServices, "Publishing"),
    row(2750, 2799, Industrials, "Printing"),
    row(2800, 2829, BasicMaterials, "Chemicals"),
    row(2830, 2834, Healthcare, "Pharmaceuticals"),
    row(2835, 2835, Healthcare, "Diagnostics"),
    row(2836, 2836, Healthcare, "Biotechnology"),
    row(2837, 2839, Healthcare, "Pharmaceuticals"),
    row(2840, 2849, ConsumerStaples, "Household Products"),
    row(2850, 2899, BasicMaterials, "Chemicals"),
    row(2900, 2999, Energy, "Oil Refining"),
    row(3000, 3019, ConsumerDiscretionary, "Auto Parts"),
    row(3020, 3029, ConsumerDiscretionary, "Footwear"),
    row(3030, 3099, BasicMaterials, "Rubber and Plastics"),
    row(3100, 3199, ConsumerDiscretionary, "Footwear"),
    row(3200, 3299, BasicMaterials, "Glass, Stone and Cement"),
    row(3300, 3329, BasicMaterials, "Steel"),
    row(3330, 3399, BasicMaterials, "Metals"),
    row(3400, 3499, Industrials, "Metal Products"),
    row(3500, 3529, Industrials, "Machinery"),
    row(3530, 3539, Industrials, "Construction Machinery"),
    row(3540, 3569, Industrials, "Machinery"),
    row(3570, 3571, Technology, "Computer Hardware"),
    row(3572, 3572, Technology, "Data Storage"),
    row(3573, 3579, Technology, "Computer Hardware"),
    row(3580, 3599, Industrials, "Machinery"),
    row(3600, 3629, Industrials, "Electrical Equipment"),
    row(3630, 3639, ConsumerDiscretionary, "Household Appliances"),
    row(3640, 3649, Industrials, "Electrical Equipment"),
    row(3650, 3659, ConsumerDiscretionary, "Consumer Electronics"),
    row(3660, 3669, Technology, "Communication Equipment"),
    row(3670, 3673, Technology, "Electronic Components"),
    row(3674, 3674, Technology, "Semiconductors"),
    row(3675, 3679, Technology, "Electronic Components"),
    row(3680, 3689, Technology, "Computer Hardware"),
    row(3690, 3699, Industrials, "Electrical Equipment"),
    row(3700, 3713, ConsumerDiscretionary, "Automobiles"),
    row(3714, 3714, ConsumerDiscretionary, "Auto Parts"),
    row(3715, 3719, ConsumerDiscretionary, "Automobiles"),
    row(3720, 3729, Industrials, "Aerospace"),
    row(3730, 3749, Industrials, "Ships and Rail Cars"),
    row(3750, 3759, ConsumerDiscretionary, "Recreational Vehicles"),
    row(3760, 3769, Industrials, "Aerospace"),
    row(3770, 3799, ConsumerDiscretionary, "Recreational Vehicles"),
    row(3800, 3811, Technology, "Instruments"),
    row(3812, 3812, Industrials, "Aerospace"),
    row(3813, 3839, Technology, "Instruments"),
    row(3840, 3859, Healthcare, "Medical Devices"),
    row(3860, 3869, Technology, "Instruments"),
    row(3870, 3899, ConsumerDiscretionary, "Watches"),
    row(3900, 3999, ConsumerDiscretionary, "Leisure Products"),
    // E: transport, communications, utilities
    row(4000, 4099, Industrials, "Railroads"),
    row(4100, 4199, Industrials, "Passenger Transport"),
    row(4200, 4299, Industrials, "Trucking"),
    row(4300, 4399, Industrials, "Postal Services"),
    row(4400, 4499, Industrials, "Shipping"),
    row(4500, 4599, Industrials, "Airlines"),
    row(4600, 4699, Energy, "Pipelines"),
    row(4700, 4723, Industrials, "Transport Services"),
    row(4724, 4729, ConsumerDiscretionary, "Travel Services"),
    row(4730, 4799, Industrials, "Transport Services"),
    row(4800, 4812, CommunicationServices, "Wireless"),
    row(4813, 4829, CommunicationServices, "Telecommunications"),
    row(4830, 4849, CommunicationServices, "Broadcasting"),
    row(4850, 4899, CommunicationServices, "Telecommunications"),
    row(4900, 4919, Utilities, "Electric Utilities"),
    row(4920, 4922, Energy, "Pipelines"),
    row(4923, 4929, Utilities, "Gas Utilities"),
    row(4930, 4939, Utilities, "Electric Utilities"),
    row(4940, 4949, Utilities, "Water Utilities"),
    row(4950, 4959, Industrials, "Waste Management"),
    row(4960, 4999, Utilities, "Electric Utilities"),
    // F: wholesale
    row(5000, 5044, Industrials, "Distribution"),
    row(5045, 5046, Technology, "Electronics Distribution"),
    row(5047, 5049, Healthcare, "Medical Distribution"),
    row(5050, 5064, Industrials, "Distribution"),
    row(5065, 5065, Technology, "Electronics Distribution"),
    row(5066, 5119, Industrials, "Distribution"),
    row(5120, 5129, Healthcare, "Medical Distribution"),
    row(5130, 5139, ConsumerDiscretionary, "Apparel"),
    row(5140, 5159, ConsumerStaples, "Food Distribution"),
    row(5160, 5169, BasicMaterials, "Chemicals"),
    row(5170, 5179, Energy, "Oil Distribution"),
    row(5180, 5189, ConsumerStaples, "Beverages"),
    row(5190, 5199, Industrials, "Distribution"),
    // G: retail
    row(5200, 5299, ConsumerDiscretionary, "Home Improvement Retail"),
    row(5300, 5330, ConsumerDiscretionary, "Department Stores"),
    row(5331, 5399, ConsumerStaples, "Discount Stores"),
    row(5400, 5499, ConsumerStaples, "Grocery Stores"),
    row(5500, 5599, ConsumerDiscretionary, "Auto Dealers"),
    row(5600, 5699, ConsumerDiscretionary, "Apparel Retail"),
    row(5700, 5799, ConsumerDiscretionary, "Home Furnishing Retail"),
    row(5800, 5899, ConsumerDiscretionary, "Restaurants"),
    row(5900, 5911, ConsumerStaples, "Drug Stores"),
    row(5912, 5912, ConsumerStaples, "Drug Stores"),
    row(5913, 5959, ConsumerDiscretionary, "Specialty Retail"),
    row(5960, 5969, ConsumerDiscretionary, "Catalog Retail"),
    row(5970, 5999, ConsumerDiscretionary, "Specialty Retail"),
    // H: finance, insurance, real estate
    row(6000, 6029, FinancialServices, "Banks"),
    row(6030, 6039, FinancialServices, "Savings Institutions"),
    row(6040, 6099, FinancialServices, "Banks"),
    row(6100, 6199, FinancialServices, "Credit Services"),
    row(6200, 6281, FinancialServices, "Brokerage"),
    row(6282, 6289, FinancialServices, "Asset Management"),
    row(6290, 6299, FinancialServices, "Brokerage"),
    row(6300, 6319, FinancialServices, "Life Insurance"),
    row(6320, 6329, Healthcare, "Health Insurance"),
    row(6330, 6399, FinancialServices, "Insurance"),
    row(6400, 6499, FinancialServices, "Insurance Brokers"),
    row(6500, 6549, RealEstate, "Real Estate Services"),
    row(6550, 6599, RealEstate, "Land Developers"),
    row(6700, 6769, FinancialServices, "Investment Funds"),
    row(6770, 6770, FinancialServices, "Blank Checks"),
    row(6771, 6791, FinancialServices, "Investment Funds"),
    row(6792, 6792, Energy, "Royalty Trusts"),
    row(6793, 6794, FinancialServices, "Patent Owners"),
    row(6795, 6797, BasicMaterials, "Royalty Trusts"),
    row(6798, 6798, RealEstate, "Real Estate Trusts"),
    row(6799, 6799, FinancialServices, "Investment Funds"),
    // I: services
    row(7000, 7099, ConsumerDiscretionary, "Hotels"),
    row(7200, 7299, ConsumerDiscretionary, "Personal Services"),
    row(7300, 7309, Industrials, "Business Services"),
    row(7310, 7319, CommunicationServices, "Advertising"),
    row(7320, 7369, Industrials, "Business Services"),
    row(7370, 7371, Technology, "IT Services"),
    row(7372, 7372, Technology, "Software"),
    row(7373, 7379, Technology, "IT Services"),
    row(7380, 7399, Industrials, "Business Services"),
    row(7500, 7599, ConsumerDiscretionary, "Auto Services"),
    row(7600, 7699, Industrials, "Repair Services"),
    row(7800, 7899, CommunicationServices, "Films"),
    row(7900, 7999, ConsumerDiscretionary, "Leisure and Gaming"),
    row(8000, 8059, Healthcare, "Health Services"),
    row(8060, 8069, Healthcare, "Hospitals"),
    row(8070, 8099, Healthcare, "Health Services"),
    row(8100, 8199, Industrials, "Legal Services"),
    row(8200, 8299, ConsumerDiscretionary, "Education"),
    row(8300, 8399, ConsumerDiscretionary, "Social Services"),
    row(8400, 8499, ConsumerDiscretionary, "Leisure and Gaming"),
    row(8600, 8699, Industrials, "Membership Organizations"),
    row(8700, 8730, Industrials, "Engineering Services"),
    row(8731, 8731, Healthcare, "Research Services"),
    row(8732, 8799, Industrials, "Engineering Services"),
    row(8900, 8999, Industrials, "Business Services"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_ascending_and_disjoint() {
        assert!(TABLE.iter().all(|row| row.from <= row.to));
        assert!(TABLE.windows(2).all(|two| two[0].to < two[1].from));
        let used: BTreeSet<Sector> = TABLE.iter().map(|row| row.sector).collect();
        assert_eq!(used, Sector::ALL.into());
        let names: BTreeSet<&str> = Sector::ALL.iter().map(|sector| sector.name()).collect();
        assert_eq!(names.len(), Sector::ALL.len());
    }

    /// Every code of a major group that exists is mapped, whole; every other is unknown on purpose.
    #[test]
    fn every_code_is_mapped_or_unknown_on_purpose() {
        // 88 is private households, where the filings also put receipts and governments; 91 to 97 are
        // governments, 99 is what nobody could classify.
        let unknown: BTreeSet<u16> =
            [0, 3, 4, 5, 6, 11, 18, 19, 66, 68, 69, 71, 74, 77, 85, 88].into_iter().chain(90..=99).collect();
        for code in 0..=9_999_u16 {
            assert_eq!(industry(code).is_none(), unknown.contains(&(code / 100)), "{code:04}");
        }
        assert_eq!(industry(10_000), None);
    }

    #[test]
    fn well_known_companies_are_where_they_are_looked_for() {
        for (code, sector, name) in [
            ("3571", Technology, "Computer Hardware"), // a maker of computers and telephones
            ("7372", Technology, "Software"),
            ("3674", Technology, "Semiconductors"),
            ("2834", Healthcare, "Pharmaceuticals"),
            ("6324", Healthcare, "Health Insurance"),
            ("6022", FinancialServices, "Banks"),
            ("6770", FinancialServices, "Blank Checks"),
            ("6798", RealEstate, "Real Estate Trusts"),
            ("1311", Energy, "Oil and Gas Production"),
            ("4911", Utilities, "Electric Utilities"),
            ("5331", ConsumerStaples, "Discount Stores"),
            ("5812", ConsumerDiscretionary, "Restaurants"),
            ("4813", CommunicationServices, "Telecommunications"),
            ("1040", BasicMaterials, "Gold"),
            ("3721", Industrials, "Aerospace"),
            ("100", ConsumerStaples, "Crops"),
            (" 0100 ", ConsumerStaples, "Crops"),
        ] {
            assert_eq!(industry_of(code), Some(Industry { sector, name }), "{code}");
        }
        for none in ["", "35", "35711", "abcd", "-100", "+100", "9995", "8888", "1.5"] {
            assert_eq!(industry_of(none), None, "{none}");
        }
    }
}

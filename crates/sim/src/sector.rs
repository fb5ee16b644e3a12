//! The sectors, industries and exchanges of a generated market: invented companies need a plausible home.
//! Codes follow the public SIC list, of which only these rows are used.

/// One industry: sector, industry, SIC code, SIC description.
pub(crate) struct Industry {
    pub(crate) sector: &'static str,
    pub(crate) name: &'static str,
    pub(crate) sic: u16,
    pub(crate) sic_text: &'static str,
}

const fn industry(sector: &'static str, name: &'static str, sic: u16, sic_text: &'static str) -> Industry {
    Industry { sector, name, sic, sic_text }
}

/// All industries, grouped by sector.
pub(crate) const INDUSTRIES: [Industry; 60] = [
    industry("Technology", "Software", 7372, "SERVICES-PREPACKAGED SOFTWARE"),
    industry("Technology", "Semiconductors", 3674, "SEMICONDUCTORS & RELATED DEVICES"),
    industry("Technology", "Computer Hardware", 3571, "ELECTRONIC COMPUTERS"),
    industry("Technology", "Data Storage", 3572, "COMPUTER STORAGE DEVICES"),
    industry("Technology", "IT Services", 7370, "SERVICES-COMPUTER PROGRAMMING, DATA PROCESSING, ETC."),
    industry(
        "Technology",
        "Communication Equipment",
        3663,
        "RADIO & TV BROADCASTING & COMMUNICATIONS EQUIPMENT",
    ),
    industry("Technology", "Electronic Components", 3679, "ELECTRONIC COMPONENTS, NEC"),
    industry("Healthcare", "Biotechnology", 2836, "BIOLOGICAL PRODUCTS, (NO DIAGNOSTIC SUBSTANCES)"),
    industry("Healthcare", "Pharmaceuticals", 2834, "PHARMACEUTICAL PREPARATIONS"),
    industry("Healthcare", "Medical Devices", 3841, "SURGICAL & MEDICAL INSTRUMENTS & APPARATUS"),
    industry("Healthcare", "Diagnostics", 2835, "IN VITRO & IN VIVO DIAGNOSTIC SUBSTANCES"),
    industry("Healthcare", "Health Insurance", 6324, "HOSPITAL & MEDICAL SERVICE PLANS"),
    industry("Healthcare", "Hospitals", 8062, "SERVICES-GENERAL MEDICAL & SURGICAL HOSPITALS, NEC"),
    industry("Financial Services", "Banks", 6022, "STATE COMMERCIAL BANKS"),
    industry("Financial Services", "Savings Institutions", 6035, "SAVINGS INSTITUTION, FEDERALLY CHARTERED"),
    industry("Financial Services", "Insurance", 6331, "FIRE, MARINE & CASUALTY INSURANCE"),
    industry("Financial Services", "Life Insurance", 6311, "LIFE INSURANCE"),
    industry("Financial Services", "Asset Management", 6282, "INVESTMENT ADVICE"),
    industry("Financial Services", "Brokerage", 6211, "SECURITY BROKERS, DEALERS & FLOTATION COMPANIES"),
    industry("Financial Services", "Blank Checks", 6770, "BLANK CHECKS"),
    industry("Consumer Discretionary", "Apparel Retail", 5651, "RETAIL-FAMILY CLOTHING STORES"),
    industry("Consumer Discretionary", "Restaurants", 5812, "RETAIL-EATING PLACES"),
    industry("Consumer Discretionary", "Automobiles", 3711, "MOTOR VEHICLES & PASSENGER CAR BODIES"),
    industry("Consumer Discretionary", "Auto Parts", 3714, "MOTOR VEHICLE PARTS & ACCESSORIES"),
    industry("Consumer Discretionary", "Hotels", 7011, "HOTELS & MOTELS"),
    industry("Consumer Discretionary", "Home Building", 1531, "OPERATIVE BUILDERS"),
    industry("Consumer Discretionary", "Catalog Retail", 5961, "RETAIL-CATALOG & MAIL-ORDER HOUSES"),
    industry("Consumer Staples", "Beverages", 2080, "BEVERAGES"),
    industry("Consumer Staples", "Packaged Foods", 2000, "FOOD AND KINDRED PRODUCTS"),
    industry(
        "Consumer Staples",
        "Household Products",
        2840,
        "SOAP, DETERGENTS, CLEANING PREPARATIONS, PERFUMES",
    ),
    industry("Consumer Staples", "Grocery Stores", 5411, "RETAIL-GROCERY STORES"),
    industry("Consumer Staples", "Tobacco", 2111, "CIGARETTES"),
    industry("Industrials", "Aerospace", 3721, "AIRCRAFT"),
    industry("Industrials", "Machinery", 3560, "GENERAL INDUSTRIAL MACHINERY & EQUIPMENT"),
    industry("Industrials", "Construction Machinery", 3531, "CONSTRUCTION MACHINERY & EQUIP"),
    industry("Industrials", "Trucking", 4213, "TRUCKING (NO LOCAL)"),
    industry("Industrials", "Airlines", 4512, "AIR TRANSPORTATION, SCHEDULED"),
    industry("Industrials", "Railroads", 4011, "RAILROADS, LINE-HAUL OPERATING"),
    industry("Industrials", "Electrical Equipment", 3620, "ELECTRICAL INDUSTRIAL APPARATUS"),
    industry("Industrials", "Business Services", 7389, "SERVICES-BUSINESS SERVICES, NEC"),
    industry("Energy", "Oil and Gas Production", 1311, "CRUDE PETROLEUM & NATURAL GAS"),
    industry("Energy", "Oil Refining", 2911, "PETROLEUM REFINING"),
    industry("Energy", "Oil Services", 1389, "OIL & GAS FIELD SERVICES, NEC"),
    industry("Energy", "Pipelines", 4922, "NATURAL GAS TRANSMISSION"),
    industry("Energy", "Coal", 1220, "BITUMINOUS COAL & LIGNITE MINING"),
    industry("Basic Materials", "Chemicals", 2860, "INDUSTRIAL ORGANIC CHEMICALS"),
    industry("Basic Materials", "Gold", 1040, "GOLD AND SILVER ORES"),
    industry("Basic Materials", "Metal Mining", 1000, "METAL MINING"),
    industry("Basic Materials", "Steel", 3312, "STEEL WORKS, BLAST FURNACES & ROLLING MILLS"),
    industry("Basic Materials", "Paper", 2621, "PAPER MILLS"),
    industry("Real Estate", "Real Estate Trusts", 6798, "REAL ESTATE INVESTMENT TRUSTS"),
    industry("Real Estate", "Real Estate Services", 6531, "REAL ESTATE AGENTS & MANAGERS (FOR OTHERS)"),
    industry("Real Estate", "Land Developers", 6552, "LAND SUBDIVIDERS & DEVELOPERS (NO CEMETERIES)"),
    industry("Utilities", "Electric Utilities", 4911, "ELECTRIC SERVICES"),
    industry("Utilities", "Gas Utilities", 4924, "NATURAL GAS DISTRIBUTION"),
    industry("Utilities", "Water Utilities", 4941, "WATER SUPPLY"),
    industry(
        "Communication Services",
        "Telecommunications",
        4813,
        "TELEPHONE COMMUNICATIONS (NO RADIOTELEPHONE)",
    ),
    industry("Communication Services", "Wireless", 4812, "RADIOTELEPHONE COMMUNICATIONS"),
    industry("Communication Services", "Broadcasting", 4833, "TELEVISION BROADCASTING STATIONS"),
    industry("Communication Services", "Publishing", 2711, "NEWSPAPERS: PUBLISHING OR PUBLISHING & PRINTING"),
];

/// The SIC row of an industry by its name.
pub(crate) fn by_name(name: &str) -> Option<&'static Industry> {
    INDUSTRIES.iter().find(|industry| industry.name == name)
}

/// The market identifier code of an exchange written in words; others are kept as they are.
pub(crate) fn mic(exchange: &str) -> &str {
    match exchange.trim() {
        "NASDAQ" | "nasdaq" | "Nasdaq" => "XNAS",
        "NYSE" | "nyse" => "XNYS",
        "AMEX" | "amex" | "NYSE AMERICAN" | "NYSE American" => "XASE",
        "NYSE ARCA" | "NYSE Arca" | "ARCA" => "ARCX",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_grouped_and_names_unique() {
        let mut sectors: Vec<_> = INDUSTRIES.iter().map(|i| i.sector).collect();
        sectors.dedup();
        assert_eq!(sectors.len(), 11);
        let names: std::collections::BTreeSet<_> = INDUSTRIES.iter().map(|i| i.name).collect();
        assert_eq!(names.len(), INDUSTRIES.len());
    }
}
